// What the loader and the panel agree on: the boot configuration, the tag's options, and the two faces they show each other.

export type Mode = "bubble" | "inline" | "fullpage";
export type Quality = "auto" | "high" | "low" | "2d";

export interface Theme {
  color?: string;
  mode?: "auto" | "light" | "dark";
  position?: "right" | "left";
  radius?: number;
}

/** `GET /api/v1/chatbots/{id}/config`: everything public about a bot. */
export interface BootConfig {
  id: string;
  name: string;
  type: "3d" | "text" | "voice";
  language: string;
  theme: Theme;
  texts: Record<string, string | Record<string, string>>;
  greeting: string | null;
  avatar: { id: string; glb_url: string; thumbnail_url: string | null } | null;
  voice: { id: string } | null;
  features: { voice: boolean; three_d: boolean; text: boolean };
  consent: { required: boolean };
}

/** The tag's `data-*` attributes, or the argument of `MA('boot', ...)`. */
export interface Options {
  chatbotId: string;
  locale: string;
  position?: "right" | "left";
  theme?: "auto" | "light" | "dark";
  color?: string;
  open: boolean;
  greeting: boolean;
  mode: Mode;
  target?: string | Element;
  quality: Quality;
  consent: boolean;
}

export type Emit = (event: string, detail?: unknown) => void;

/** What the loader gives the panel. */
export interface Shell {
  host: HTMLElement;
  root: ShadowRoot;
  /** The server's origin, no trailing slash. */
  origin: string;
  /** Where this build's files lie, with a trailing slash. */
  base: string;
  options: Options;
  config: BootConfig;
  emit: Emit;
  /** The audio context made in the opening tap, so that sound is allowed. */
  audio(): AudioContext | null;
  unread(count: number): void;
  /** The visitor closed the panel: give the focus back. */
  closed(): void;
}

/** What the panel gives the loader. */
export interface Panel {
  open(focus: boolean): void;
  close(): void;
  send(text: string): void;
  prefill(text: string): void;
  mute(on: boolean): void;
  setLocale(locale: string): Promise<void>;
  setTheme(theme: Theme): void;
  reset(): void;
  shutdown(): void;
  state(): Record<string, unknown>;
  probe(): Record<string, unknown>;
}
