"""People: profiles and memberships."""
