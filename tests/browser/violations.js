// Keeps what the page's content security policy has refused.
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(`${event.violatedDirective} ${event.blockedURI}`));
