// Listens at the loudspeaker: what any audio graph of the page sends to its destination is copied, sample by sample, with
// the context's time of the first. Notes the mouth at every animation frame beside it.
(() => {
  const tap = (window.__tap = { context: null, rate: 0, from: null, chunks: [], loudest: 0, frames: [] });

  /** Runs on the audio thread: hands over every sample. */
  const module = `registerProcessor("test-tap", class extends AudioWorkletProcessor {
    pcm = new Float32Array(1920);
    filled = 0;
    process([input]) {
      if (this.filled === 0) this.at = currentTime;
      this.pcm.set(input?.[0] ?? new Float32Array(128), this.filled);
      this.filled += 128;
      if (this.filled < this.pcm.length) return true;
      this.port.postMessage({ at: this.at, pcm: this.pcm.slice() });
      this.filled = 0;
      return true;
    }
  });`;
  const listener = async (context) => {
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
    const node = new AudioWorkletNode(context, "test-tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => {
      Object.assign(tap, { context, rate: context.sampleRate, from: tap.from ?? data.at });
      tap.chunks.push(data.pcm);
      tap.loudest = data.pcm.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    };
    return node;
  };

  const connect = AudioNode.prototype.connect;
  const listeners = new WeakMap();
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      if (!listeners.has(this.context)) listeners.set(this.context, listener(this.context));
      void listeners.get(this.context).then((node) => connect.call(this, node));
    }
    return connect.call(this, to, ...rest);
  };

  /** Everything heard so far as base64 PCM16, and the context's time of its first sample. */
  tap.sound = () => {
    const pcm = new Int16Array(tap.chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let at = 0;
    for (const chunk of tap.chunks) for (const value of chunk) pcm[at++] = Math.max(-1, Math.min(1, value)) * 32767;
    const bytes = new Uint8Array(pcm.buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return { pcm: btoa(text), rate: tap.rate, from: tap.from ?? 0 };
  };

  /** The context's time of the sample that leaves the loudspeaker now. */
  tap.now = () => {
    const { contextTime, performanceTime } = tap.context.getOutputTimestamp();
    return contextTime + (performance.now() - performanceTime) / 1000;
  };

  /** Keeps the context's time of the next event of this name. */
  tap.note = (name) => {
    addEventListener(name, () => (tap.noted = tap.now()), { capture: true, once: true });
    return true;
  };

  const frame = () => {
    requestAnimationFrame(frame);
    const probe = document.querySelector("ma-widget")?.__probe?.();
    if (!probe?.stage || !tap.context) return;
    const { rid, lipsT, playing, weights } = probe.stage;
    tap.frames.push({ at: tap.now(), rid, t: lipsT, playing, weights, caption: probe.caption });
  };
  requestAnimationFrame(frame);
})();
