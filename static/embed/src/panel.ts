// The panel.
export const mount = (): null => null;
