// The audio worklets.
export {};
