"""The REST catalogue: one package a service, all built on the kit."""
