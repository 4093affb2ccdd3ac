// Starts Swagger UI on this server's own document. Whoever signs in, or makes an API key or a visitor's token by trying
// the call out, has the other calls made with it.
const schemes = [
  [/\/auth\/(login|refresh|mfa\/verify)$/, "account", "access_token"],
  [/\/auth\/visitor-token$/, "visitor", "access_token"],
  [/\/users\/me\/api-keys$/, "api_key", "key"],
];

const ui = SwaggerUIBundle({
  url: "/openapi.json?version=3.1",
  dom_id: "#api",
  deepLinking: true,
  displayOperationId: true,
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
  responseInterceptor(response) {
    const path = new URL(response.url, location.href).pathname;
    for (const [pattern, scheme, field] of schemes) {
      const token = pattern.test(path) && response.ok && response.body?.[field];
      if (token) ui.preauthorizeApiKey(scheme, token);
    }
    if (response.ok && path.endsWith("/auth/logout")) ui.authActions.logout(["account"]);
    return response;
  },
});
