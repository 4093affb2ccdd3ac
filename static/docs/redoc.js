// Starts ReDoc on this server's own document.
Redoc.init("/openapi.json?version=3.1", { disableSearch: false, nativeScrollbars: true }, document.getElementById("api"));
