// The panel's door: what the loader imports when the visitor opens the chat.

import { Chat } from "./chat";
import type { Panel, Shell } from "./contract";
import { speaker } from "./texts";

export async function mount(shell: Shell): Promise<Panel> {
  return new Chat(shell, await speaker(shell.options.locale, shell.config.texts));
}
