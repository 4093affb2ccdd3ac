"""`machineavatars doctor`: looks at everything that a server needs here, and says how to mend what is not well."""
