"""Selection: what a chatbot can be made of."""
