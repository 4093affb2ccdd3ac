// Puts the widget's one tag on the demo page, for the bot that the server names.

const hint = document.getElementById("hint");
const snippet = document.getElementById("snippet");
const copy = document.getElementById("copy");

/** The one script address this page ever adds, also where the policy demands trusted types. */
function widgetUrl() {
  const policy = window.trustedTypes?.createPolicy("ma-widget", { createScriptURL: () => "/widget.js" });
  return policy ? policy.createScriptURL("") : "/widget.js";
}

async function start() {
  const response = await fetch("/demo.json");
  if (!response.ok) throw new Error(`demo.json: ${response.status}`);
  const { chatbot_id: id } = await response.json();
  snippet.textContent = `<script src="${location.origin}/widget.js"\n        data-chatbot-id="${id}" async></script>`;
  const tag = document.createElement("script");
  tag.src = widgetUrl();
  tag.async = true;
  tag.dataset.chatbotId = id;
  tag.dataset.mode = "inline";
  tag.dataset.target = "#stage";
  tag.addEventListener("load", () => {
    window.MA("on", "open", () => hint.remove());
    window.MA("on", "error", (error) => {
      if (hint.isConnected) hint.textContent = `The chat did not start: ${error.message}`;
    });
  });
  tag.addEventListener("error", () => {
    hint.textContent = "The widget is not built yet. Run “npm run build”, then reload.";
  });
  document.body.append(tag);
}

copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(snippet.textContent);
    copy.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(snippet);
  }
});

start().catch(() => {
  hint.textContent = "The demo bot is not there yet. Start the server with “make run”, then reload.";
});
