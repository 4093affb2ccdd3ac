// Starts Swagger UI on this server's own document.
SwaggerUIBundle({
  url: "/openapi.json?version=3.1",
  dom_id: "#api",
  deepLinking: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
