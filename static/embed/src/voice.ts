// The voice part.
export const voice = (): null => null;
