// What the links in mails do: confirm an address, choose a password, join an organisation. Nothing happens before the
// person presses the button, for some mail programs open every link by themselves.
const said = document.getElementById("said");
const [kind, token] = location.hash.slice(1).split("=");
history.replaceState(null, "", location.pathname); // the token stays out of the history

const does = {
  verify: () => ["verify-email", { token }, "Thank you, your e-mail address is confirmed."],
  reset: (form) => ["reset-password", { token, ...form }, "Your password is changed. You can sign in with it now."],
  invite: (form) => ["register", { ...form, accept_terms: true, invite_token: token }, "Welcome! You can sign in now."],
};

function say(text, wrong = false) {
  said.textContent = text;
  said.classList.toggle("wrong", wrong);
}

async function submit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  const [path, body, done] = does[kind](Object.fromEntries(new FormData(form)));
  button.disabled = true;
  try {
    const response = await fetch(`/api/v1/auth/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.ok) {
      form.hidden = true;
      say(done);
      return;
    }
    say((await response.json()).error.message, true);
  } catch {
    say("The server cannot be reached. Please try again.", true);
  }
  button.disabled = false;
}

if (token && Object.hasOwn(does, kind)) {
  const form = document.getElementById(kind);
  form.hidden = false;
  form.addEventListener("submit", submit);
  say("");
}
