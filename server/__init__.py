"""The edge: the only place that builds things and opens sockets."""
