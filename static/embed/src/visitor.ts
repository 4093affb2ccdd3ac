// The visitor as the REST side knows them: a token for one bot, the conversation so far, and the little that is stored in the page's origin.

import type { Resumable } from "./connection";
import type { BootConfig } from "./contract";

export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  readonly retryMs: number | null;

  constructor(code: string, message: string, status: number, retryMs: number | null) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryMs = retryMs;
  }

  /** Asking again in a moment may help. */
  get retryable(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export interface PastMessage {
  id: string;
  role: "user" | "assistant" | "agent" | "system";
  content: string;
  /** It was cut short; `content` is what was heard. */
  interrupted: boolean;
}

interface Stored {
  visitor?: string;
  conversation?: string;
  session?: Resumable;
}

interface VisitorToken {
  access_token: string;
  expires_in: number;
  user_id: string;
  conversation_id?: string | null;
}

const TIMEOUT_MS = 10_000;
const EARLY_MS = 60_000;
const HISTORY_LIMIT = 50;

/** Rejects with `ApiError`; status 0 is a network that did not answer. */
export async function request<T>(url: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "omit", ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError("NETWORK", "the server did not answer", 0, null);
  }
  const body = (await response.json().catch(() => null)) as { error?: { code?: string; message?: string } } | null;
  if (response.ok && body !== null) return body as T;
  const retryAfter = Number(response.headers.get("Retry-After"));
  throw new ApiError(
    body?.error?.code ?? "INTERNAL_ERROR",
    body?.error?.message ?? response.statusText,
    response.status,
    retryAfter > 0 ? retryAfter * 1000 : null,
  );
}

export class Visitor {
  readonly #origin: string;
  readonly #config: BootConfig;
  readonly #key: string;
  #token: { value: string; until: number } | null = null;
  /** What stands in for the page's storage where that is blocked. */
  #memory: Stored = {};

  constructor(origin: string, config: BootConfig) {
    this.#origin = origin;
    this.#config = config;
    this.#key = `machineavatars:${config.id}`;
  }

  get conversation(): string | null {
    return this.#read().conversation ?? null;
  }

  set conversation(id: string | null) {
    this.#write({ ...this.#read(), conversation: id ?? undefined });
  }

  /** What the conversation's session can be resumed with, the newest of all tabs; null when there is none. */
  get session(): Resumable | null {
    return this.#read().session ?? null;
  }

  set session(session: Resumable | null) {
    this.#write({ ...this.#read(), session: session ?? undefined });
  }

  /** A token good for at least another minute. */
  async token(locale: string): Promise<string> {
    if (this.#token && this.#token.until > Date.now() + EARLY_MS) return this.#token.value;
    let stored = this.#read();
    const ask = (visitor_id?: string): Promise<VisitorToken> =>
      request(`${this.#origin}/api/v1/auth/visitor-token`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ chatbot_id: this.#config.id, visitor_id, locale, page_url: location.origin + location.pathname }),
      });
    const answer = await ask(stored.visitor).catch((error: ApiError) => {
      // What is stored is not an id that this server ever gave: begin anew.
      if (error.status !== 400 || !stored.visitor) throw error;
      stored = {};
      return ask();
    });
    this.#token = { value: answer.access_token, until: Date.now() + answer.expires_in * 1000 };
    this.#write({ ...stored, visitor: answer.user_id, conversation: answer.conversation_id ?? stored.conversation });
    return answer.access_token;
  }

  /** The server refused the token: the next call asks for another. */
  forgetToken(): void {
    this.#token = null;
  }

  /** The newest messages of the conversation, oldest first; none when there is no conversation, null when it cannot be read now. */
  async history(locale: string): Promise<PastMessage[] | null> {
    const conversation = this.conversation;
    if (!conversation) return [];
    try {
      const token = await this.token(locale);
      const url = `${this.#origin}/api/v1/history/conversations/${encodeURIComponent(conversation)}/messages`;
      const headers = { Authorization: `Bearer ${token}` };
      type Page = { data: PastMessage[]; pagination?: { total_pages?: number } };
      const first = await request<Page>(`${url}?limit=${HISTORY_LIMIT}`, { headers });
      const last = first.pagination?.total_pages ?? 1;
      const page = last > 1 ? await request<Page>(`${url}?limit=${HISTORY_LIMIT}&page=${last}`, { headers }) : first;
      return page.data;
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryable) return null;
      if (error.status === 404) this.conversation = null;
      return [];
    }
  }

  /** Erases everything this widget has stored. */
  erase(): void {
    this.#token = null;
    this.#memory = {};
    try {
      localStorage.removeItem(this.#key);
    } catch {
      // storage is blocked: there was nothing
    }
  }

  #read(): Stored {
    try {
      const parsed: unknown = JSON.parse(localStorage.getItem(this.#key) ?? "null");
      if (parsed !== null && typeof parsed === "object") return parsed as Stored;
    } catch {
      // storage is blocked, or holds what this widget did not write
    }
    return this.#memory;
  }

  #write(stored: Stored): void {
    this.#memory = stored;
    try {
      localStorage.setItem(this.#key, JSON.stringify(stored));
    } catch {
      // storage is blocked: the visitor is new on the next page
    }
  }
}
