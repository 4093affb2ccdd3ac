// The 24-byte header of a binary message, little endian: both ways between bytes and values.

export const HEADER_BYTES = 24;
/** Where the response number lies. */
export const RID_AT = 8;
export const KIND = { mic: 1, pcm16: 2, opus: 3, face: 4 } as const;
export const FLAG = { first: 1, last: 2, discontinuity: 4, resent: 8, playing: 16 } as const;

export interface Media {
  kind: number;
  flags: number;
  seq: number;
  rid: number;
  rate: number;
  /** Samples since the stream's start. */
  t: number;
  payload: Uint8Array;
}

export function pack(media: Media): ArrayBuffer {
  const buffer = new ArrayBuffer(HEADER_BYTES + media.payload.byteLength);
  const view = new DataView(buffer);
  view.setUint8(0, 1);
  view.setUint8(1, media.kind);
  view.setUint8(2, media.flags);
  view.setUint8(3, 1);
  view.setUint32(4, media.seq, true);
  view.setUint32(8, media.rid, true);
  view.setUint32(12, media.rate, true);
  view.setBigUint64(16, BigInt(media.t), true);
  new Uint8Array(buffer, HEADER_BYTES).set(media.payload);
  return buffer;
}

/** Null for a frame of another version or too short to have a header: it is ignored, as unknown events are. */
export function unpack(buffer: ArrayBuffer): Media | null {
  if (buffer.byteLength < HEADER_BYTES) return null;
  const view = new DataView(buffer);
  if (view.getUint8(0) !== 1) return null;
  return {
    kind: view.getUint8(1),
    flags: view.getUint8(2),
    seq: view.getUint32(4, true),
    rid: view.getUint32(8, true),
    rate: view.getUint32(12, true),
    t: Number(view.getBigUint64(16, true)),
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}
