"""What chatbots are told: named templates, their versions, and which one is published."""
