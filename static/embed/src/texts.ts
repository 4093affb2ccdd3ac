// Every sentence the widget can show, in English, and where the other languages are; a bot's own `texts` override them by key.

export interface Texts {
  open: string;
  close: string;
  dialog: string;
  log: string;
  placeholder: string;
  send: string;
  stop: string;
  mic_on: string;
  mic_off: string;
  mute: string;
  unmute: string;
  captions: string;
  you: string;
  level: string;
  idle: string;
  listening: string;
  hearing: string;
  thinking: string;
  speaking: string;
  connecting: string;
  reconnecting: string;
  offline: string;
  retry: string;
  superseded: string;
  use_here: string;
  closed: string;
  interrupted: string;
  waiting: string;
  disconnected: string;
  not_sent: string;
  send_again: string;
  too_long: string;
  characters_left: string;
  tap_for_sound: string;
  no_webgl: string;
  avatar_failed: string;
  avatar_loading: string;
  no_voice_here: string;
  mic_denied: string;
  mic_missing: string;
  mic_busy: string;
  mic_lost: string;
  mic_insecure: string;
  stt_down: string;
  tts_down: string;
  llm_down: string;
  error: string;
  rate_limited: string;
  busy: string;
  not_allowed: string;
  unavailable: string;
  new_messages: string;
  consent: string;
  accept: string;
  ai_note: string;
}

const en: Texts = {
  open: "Open chat with {name}",
  close: "Close chat",
  dialog: "Chat with {name}",
  log: "Conversation",
  placeholder: "Write a message…",
  send: "Send",
  stop: "Stop",
  mic_on: "Talk by voice",
  mic_off: "Turn the microphone off",
  mute: "Turn sound off",
  unmute: "Turn sound on",
  captions: "Captions",
  you: "You",
  level: "Microphone level",
  idle: "Online",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Speaking",
  connecting: "Connecting…",
  reconnecting: "Connection lost. Reconnecting…",
  offline: "You are offline. Your messages are sent when the connection is back.",
  retry: "Try now",
  superseded: "This conversation continues in another tab.",
  use_here: "Use it here",
  closed: "The conversation was closed.",
  interrupted: "interrupted",
  waiting: "Not sent yet",
  disconnected: "Not connected",
  not_sent: "Not sent.",
  send_again: "Send again",
  too_long: "A message has at most {max} characters.",
  characters_left: "{n} characters left",
  tap_for_sound: "Tap for sound",
  no_webgl: "This browser cannot show 3D. You can still write and talk.",
  avatar_failed: "The avatar could not be loaded. You can still write and talk.",
  avatar_loading: "Loading the avatar…",
  no_voice_here: "This browser has no voice support. You can still write.",
  mic_denied: "The microphone is blocked. Allow it in the browser's address bar, then try again.",
  mic_missing: "No microphone was found. Connect one and try again, or write.",
  mic_busy: "The microphone is in use by another program. Close it and try again.",
  mic_lost: "The microphone was disconnected.",
  mic_insecure: "The microphone needs a secure page (https). You can still write.",
  stt_down: "Speech recognition is unavailable. Please write.",
  tts_down: "Speech is unavailable. The answers come as text.",
  llm_down: "The assistant is unavailable at the moment. Please try again later.",
  error: "Something went wrong. Please try again.",
  rate_limited: "Too many messages. Please wait a moment.",
  busy: "Many people are talking at the moment. Trying again shortly.",
  not_allowed: "This chat may not be used on this page.",
  unavailable: "The chat is unavailable at the moment.",
  new_messages: "New messages",
  consent: "Your messages and voice are processed to answer you. Start the chat to agree.",
  accept: "Start chat",
  ai_note: "Answers come from an AI and may be wrong.",
};

/** The languages beside English; each is fetched only where it is spoken. */
const others: Record<string, () => Promise<{ default: Texts }>> = {
  ar: () => import("./locales/ar"),
  de: () => import("./locales/de"),
  es: () => import("./locales/es"),
  fr: () => import("./locales/fr"),
};
const RTL = new Set(["ar", "he", "fa", "ur"]);

export type Say = (key: keyof Texts, values?: Record<string, string | number>) => string;

/** The language part of a BCP 47 tag. */
const language = (locale: string): string => locale.toLowerCase().split("-")[0] ?? "en";

export const direction = (locale: string): "rtl" | "ltr" => (RTL.has(language(locale)) && others[language(locale)] ? "rtl" : "ltr");

/** A lookup over English, the locale's table, the bot's texts and the bot's texts for that locale, the later the stronger. */
export async function speaker(locale: string, overrides: Record<string, string | Record<string, string>>): Promise<Say> {
  const spoken = await others[language(locale)]?.().catch(() => null);
  const own = overrides[locale] ?? overrides[language(locale)];
  const table: Record<string, unknown> = {
    ...en,
    ...spoken?.default,
    ...Object.fromEntries(Object.entries(overrides).filter(([, value]) => typeof value === "string")),
    ...(typeof own === "object" ? own : {}),
  };
  return (key, values = {}) => String(table[key]).replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
