/** Fetches a GLB and parses it, without needing more of the page's content security policy than the fetch itself. */

import { ClampToEdgeWrapping, MirroredRepeatWrapping, RepeatWrapping, Texture, type Group, type Wrapping } from "three";
import { GLTFLoader, type GLTF, type GLTFLoaderPlugin, type GLTFParser } from "three/addons/loaders/GLTFLoader.js";

const DEADLINE_MS = 30_000;
const MAX_BYTES = 32 * 1024 * 1024;
const GLB_MAGIC = 0x46546c67;

interface Json {
  textures: { source?: number; sampler?: number; extensions?: { EXT_texture_webp?: { source: number } } }[];
  images: { bufferView?: number; mimeType?: string }[];
  samplers?: { wrapS?: number; wrapT?: number }[];
}

const WRAPPINGS: Readonly<Record<number, Wrapping>> = {
  33071: ClampToEdgeWrapping, 33648: MirroredRepeatWrapping, 10497: RepeatWrapping,
};

/** Decodes embedded images straight from memory: the loader's own way fetches blob: URLs, which many policies forbid. */
class EmbeddedImages implements GLTFLoaderPlugin {
  /** The name puts it in the place of the loader's own WebP extension; every browser that runs this decodes WebP. */
  readonly name = "EXT_texture_webp";

  constructor(private readonly parser: GLTFParser) {}

  loadTexture(index: number): Promise<Texture> | null {
    const { textures, images } = this.parser.json as Json;
    const texture = textures[index];
    const source = texture?.extensions?.EXT_texture_webp?.source ?? texture?.source;
    const image = source === undefined ? undefined : images[source];
    if (image?.bufferView === undefined) return null;
    return this.decode(index, image.bufferView, image.mimeType ?? "image/png");
  }

  private async decode(index: number, bufferView: number, type: string): Promise<Texture> {
    const bytes = (await this.parser.getDependency("bufferView", bufferView)) as ArrayBuffer;
    const bitmap = await createImageBitmap(new Blob([bytes], { type }), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
    const { textures, samplers } = this.parser.json as Json;
    const sampler = samplers?.[textures[index]?.sampler ?? -1];
    const texture = new Texture(bitmap);
    texture.flipY = false;
    texture.wrapS = WRAPPINGS[sampler?.wrapS ?? 10497] ?? RepeatWrapping;
    texture.wrapT = WRAPPINGS[sampler?.wrapT ?? 10497] ?? RepeatWrapping;
    texture.anisotropy = 4;
    texture.needsUpdate = true;
    this.parser.associations.set(texture, { textures: index });
    return texture;
  }
}

async function fetchBytes(url: string, signal: AbortSignal): Promise<ArrayBuffer> {
  const deadline = new AbortController();
  const stop = (): void => deadline.abort(new Error("the avatar took too long to load"));
  const timer = setTimeout(stop, DEADLINE_MS);
  signal.addEventListener("abort", stop, { once: true });
  let bytes: ArrayBuffer;
  try {
    const response = await fetch(url, { signal: deadline.signal });
    if (!response.ok) throw new Error(`the avatar could not be loaded (HTTP ${response.status})`);
    bytes = await response.arrayBuffer();
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
  if (bytes.byteLength > MAX_BYTES) throw new Error("the avatar is larger than 32 MB");
  if (bytes.byteLength < 20 || new DataView(bytes).getUint32(0, true) !== GLB_MAGIC) {
    throw new Error("the avatar is not a binary glTF file");
  }
  return bytes;
}

/** The scene of the GLB at `url`; rejects with a message fit for a log. */
export async function loadModel(url: string, signal: AbortSignal): Promise<Group> {
  const bytes = await fetchBytes(url, signal);
  const loader = new GLTFLoader();
  loader.register((parser) => new EmbeddedImages(parser));
  const jsonBytes = new Uint8Array(bytes, 20, new DataView(bytes).getUint32(12, true));
  if (new TextDecoder().decode(jsonBytes).includes("_meshopt_compression")) {
    const { MeshoptDecoder } = await import("three/addons/libs/meshopt_decoder.module.js");
    loader.setMeshoptDecoder(MeshoptDecoder);
  }
  const gltf: GLTF = await loader.parseAsync(bytes, "");
  return gltf.scene;
}
