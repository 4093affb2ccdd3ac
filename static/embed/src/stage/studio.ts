/** The photographer's part: renderer, lights, the room they are reflected from, and the framing of head and shoulders. */

import {
  NeutralToneMapping, BackSide, BoxGeometry, Color, DirectionalLight, Material, Mesh, MeshBasicMaterial,
  PCFShadowMap, PerspectiveCamera, PMREMGenerator, Scene, SRGBColorSpace, Texture, Vector3, WebGLRenderer,
  type Object3D, type WebGLRenderTarget,
} from "three";

export type Quality = "auto" | "high" | "low";

const FIELD_OF_VIEW = 26;
/** Metres: a picture this high shows head and shoulders; one this wide holds the shoulders. */
const PICTURE_HEIGHT = 0.46;
const PICTURE_WIDTH = 0.36;
const TALLEST_PICTURE = 0.7;

interface Tier {
  readonly pixelRatio: number;
  readonly fine: boolean;
  /** Seconds between pictures, at least: while speaking, and otherwise. */
  readonly speaking: number;
  readonly resting: number;
  /** The CPU draws: leave it half of its time for everything else. */
  readonly shared: boolean;
}

const TIERS = {
  high: { pixelRatio: 2, fine: true, speaking: 0, resting: 0, shared: false },
  low: { pixelRatio: 1, fine: false, speaking: 0, resting: 1 / 31, shared: false },
  software: { pixelRatio: 0.6, fine: false, speaking: 1 / 21, resting: 1 / 11, shared: true },
} as const satisfies Record<string, Tier>;

const LONGEST_REST_MS = 250;

export const BACKDROP =
  "radial-gradient(120% 95% at 50% 32%, #f3f1ee 0%, #dcdde1 45%, #b4b9c4 100%)";

/** Panels of light in a dim room, drawn once into a blurred environment map. */
function room(renderer: WebGLRenderer): WebGLRenderTarget {
  const scene = new Scene();
  const box = new BoxGeometry();
  const panel = (color: number, strength: number, at: [number, number, number], size: [number, number, number]): void => {
    const material = new MeshBasicMaterial({ color: new Color(color).multiplyScalar(strength) });
    const mesh = new Mesh(box, material);
    mesh.position.set(...at);
    mesh.scale.set(...size);
    mesh.lookAt(0, 0, 0);
    scene.add(mesh);
  };
  const walls = new Mesh(box, new MeshBasicMaterial({ color: 0x4a4a50, side: BackSide }));
  walls.scale.set(20, 12, 20);
  scene.add(walls);
  panel(0xfff2e2, 9, [-5, 3.5, 6], [4, 4, 0.1]);
  panel(0xe6eeff, 3.5, [7, 1.5, 4], [4, 5, 0.1]);
  panel(0xffffff, 5, [0, 5.8, 0], [7, 7, 0.1]);
  panel(0xffe9d6, 6, [6, 3, -7], [3, 5, 0.1]);
  panel(0xdfe8ff, 6, [-6, 3, -7], [3, 5, 0.1]);
  panel(0xb98d72, 0.9, [0, -5.8, 3], [8, 8, 0.1]);
  const generator = new PMREMGenerator(renderer);
  const target = generator.fromScene(scene, 0.05);
  generator.dispose();
  box.dispose();
  scene.traverse((node) => {
    if (node instanceof Mesh) (node.material as Material).dispose();
  });
  return target;
}

/** Whether WebGL 2 is drawn by the CPU here; null when there is none. */
function drawnByCpu(): boolean | null {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return null;
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name: unknown = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(String(name));
}

function texturesOf(mesh: Mesh): Texture[] {
  const materials = [mesh.material].flat() as Material[];
  return materials.flatMap((material) => Object.values(material).filter((value) => value instanceof Texture));
}

export class Studio {
  readonly scene = new Scene();
  readonly camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.1, 10);
  readonly renderer: WebGLRenderer;

  private readonly environment: WebGLRenderTarget;
  private readonly lights: DirectionalLight[] = [];
  private readonly eyeLine = new Vector3(0, 1.5, 0);
  private crown = 1.65;
  private readonly tier: Tier;
  private ratioLimit: number;
  private slow = 0;
  private fast = 0;
  private unfinished: WebGLSync | null = null;
  private begun = 0;
  private rested = 0;

  /** Throws when the browser gives no WebGL 2. */
  constructor(canvas: HTMLCanvasElement, quality: Quality, backdrop: string | null) {
    const byCpu = drawnByCpu();
    if (byCpu === null) throw new Error("no WebGL 2");
    this.tier = TIERS[quality === "auto" ? (byCpu ? "software" : "high") : quality];
    const { fine } = this.tier;
    this.renderer = new WebGLRenderer({ canvas, antialias: fine, alpha: true });
    const { renderer } = this;
    this.ratioLimit = this.tier.pixelRatio;
    renderer.outputColorSpace = SRGBColorSpace;
    renderer.toneMapping = NeutralToneMapping;
    renderer.toneMappingExposure = 1.12;
    renderer.setClearColor(0, 0);
    renderer.shadowMap.enabled = fine;
    renderer.shadowMap.type = PCFShadowMap;
    if (backdrop !== null) canvas.style.background = backdrop;
    this.environment = room(renderer);
    this.scene.environment = this.environment.texture;
    this.scene.environmentIntensity = 0.5;
    this.light(0xfff0e0, 2.2, [-0.9, 1.1, 1.6], fine);
    this.light(0xdfe9ff, 0.45, [1.6, 0.2, 1.1], false);
    this.light(0xfff4ea, 2.4, [1.2, 0.9, -1.3], false);
    this.light(0xe3ecff, 2.0, [-1.4, 0.7, -1.2], false);
  }

  /** Puts the model in the light and the frame around its head. */
  seat(model: Object3D, eyeLine: Vector3, crown: number): void {
    this.eyeLine.copy(eyeLine);
    this.crown = crown;
    model.traverse((node) => {
      if (!(node instanceof Mesh)) return;
      const thin = /lash|brow|fringe/i.test(node.name);
      node.castShadow = !thin;
      if (this.tier.shared) for (const texture of texturesOf(node)) texture.anisotropy = 1;
      node.receiveShadow = !thin && !/eye|teeth|tongue/i.test(node.name);
    });
    this.scene.add(model);
    for (const light of this.lights) {
      light.position.add(eyeLine);
      light.target.position.copy(eyeLine);
      light.target.updateMatrixWorld();
    }
  }

  /** Fits the canvas to its CSS size. Returns false while it has none. */
  resize(): boolean {
    const { clientWidth: width, clientHeight: height } = this.renderer.domElement;
    if (width === 0 || height === 0) return false;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, this.ratioLimit));
    this.renderer.setSize(width, height, false);
    const { camera, eyeLine } = this;
    camera.aspect = width / height;
    const picture = Math.min(TALLEST_PICTURE, Math.max(PICTURE_HEIGHT, PICTURE_WIDTH / camera.aspect));
    const middle = this.crown + picture * 0.09 - picture / 2;
    const distance = picture / 2 / Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
    camera.position.set(eyeLine.x, middle + (eyeLine.y - middle) * 0.7, eyeLine.z + distance);
    camera.lookAt(eyeLine.x, middle, eyeLine.z);
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    return true;
  }

  /** The way from the eyes to the lens, radians: pitch positive downwards. */
  get lens(): { pitch: number; yaw: number } {
    const { position } = this.camera;
    const { eyeLine } = this;
    const ahead = position.z - eyeLine.z;
    return { pitch: Math.atan2(eyeLine.y - position.y, ahead), yaw: Math.atan2(position.x - eyeLine.x, ahead) };
  }

  /** Whether the next picture may be drawn at `now`, milliseconds. A shared CPU is asked for one picture at a time, and
   * then rests for as long as it drew. */
  ready(now: number, speaking: boolean): boolean {
    const gl = this.renderer.getContext() as WebGL2RenderingContext;
    if (this.unfinished) {
      if (gl.getSyncParameter(this.unfinished, gl.SYNC_STATUS) !== gl.SIGNALED) return false;
      gl.deleteSync(this.unfinished);
      this.unfinished = null;
      this.rested = now + Math.min(LONGEST_REST_MS, now - this.begun);
    }
    const interval = speaking ? this.tier.speaking : this.tier.resting;
    return now >= this.rested && now - this.begun >= interval * 1000;
  }

  async compile(): Promise<void> {
    await this.renderer.compileAsync(this.scene, this.camera);
  }

  render(): void {
    this.begun = performance.now();
    this.renderer.render(this.scene, this.camera);
    if (!this.tier.shared) return;
    const gl = this.renderer.getContext() as WebGL2RenderingContext;
    if (this.unfinished) gl.deleteSync(this.unfinished);
    this.unfinished = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  /** Gives up pixels when frames keep coming more than 30 ms apart; never takes them back. */
  pace(frameSeconds: number): void {
    if (this.ratioLimit <= 1 || frameSeconds > 0.25) return;
    if (frameSeconds > 0.03) this.slow += 1;
    else this.fast += 1;
    if (this.slow + this.fast < 90) return;
    if (this.slow > this.fast) {
      this.ratioLimit = Math.max(1, this.ratioLimit - 0.5);
      this.renderer.shadowMap.autoUpdate = this.ratioLimit > 1;
      this.resize();
    }
    this.slow = this.fast = 0;
  }

  dispose(): void {
    this.scene.traverse((node) => {
      if (!(node instanceof Mesh)) return;
      node.geometry.dispose();
      (node as { skeleton?: { dispose(): void } }).skeleton?.dispose();
      for (const material of [node.material].flat() as Material[]) {
        for (const value of Object.values(material)) {
          if (!(value instanceof Texture)) continue;
          (value.image as Partial<ImageBitmap> | null)?.close?.();
          value.dispose();
        }
        material.dispose();
      }
    });
    for (const light of this.lights) light.dispose();
    this.environment.dispose();
    this.scene.clear();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }

  private light(color: number, strength: number, from: [number, number, number], shadow: boolean): void {
    const light = new DirectionalLight(color, strength);
    light.position.set(...from);
    if (shadow) {
      light.castShadow = true;
      light.shadow.mapSize.set(1024, 1024);
      light.shadow.radius = 4;
      light.shadow.bias = -0.0004;
      light.shadow.normalBias = 0.006;
      light.shadow.intensity = 0.75;
      const { camera } = light.shadow;
      camera.left = camera.bottom = -0.5;
      camera.right = camera.top = 0.5;
      camera.near = 0.5;
      camera.far = 4;
    }
    this.lights.push(light);
    this.scene.add(light, light.target);
  }
}
