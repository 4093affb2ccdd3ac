// One accent colour in, the colours that go with it out, each readable on what it stands on.

const HEX = /^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i;
export const DEFAULT_ACCENT = "#4f46e5";

type Rgb = readonly [number, number, number];

function parse(color: string): Rgb {
  const digits = color.slice(1);
  const wide = digits.length === 3 ? [...digits].map((digit) => digit + digit).join("") : digits;
  return [0, 2, 4].map((i) => parseInt(wide.slice(i, i + 2), 16)) as unknown as Rgb;
}

const format = (rgb: Rgb): string => `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
const mix = (a: Rgb, b: Rgb, share: number): Rgb => a.map((part, i) => part + ((b[i] as number) - part) * share) as unknown as Rgb;

/** Relative luminance as WCAG 2.2 defines it. */
function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((part) => {
    const c = part / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as unknown as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(parse(a)), luminance(parse(b))].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

/** `color` moved towards `towards` until it reads on `on` at `ratio`. */
function readable(color: Rgb, on: string, towards: Rgb, ratio: number): string {
  for (let share = 0; share < 1; share += 0.08) {
    const tried = format(mix(color, towards, share));
    if (contrast(tried, on) >= ratio) return tried;
  }
  return format(towards);
}

export interface Palette {
  accent: string;
  /** For text on the accent: 4.5 to 1 at least. */
  on: string;
  strong: string;
  /** The accent as a line or a dot on a light and on a dark surface: 3 to 1 at least. */
  onLight: string;
  onDark: string;
}

export function palette(color: string | undefined): Palette {
  const accent = parse(color && HEX.test(color) ? color : DEFAULT_ACCENT);
  const hex = format(accent);
  const on = contrast(hex, "#ffffff") >= 4.5 ? "#ffffff" : "#000000";
  return {
    accent: hex,
    on,
    strong: format(mix(accent, on === "#ffffff" ? [0, 0, 0] : [255, 255, 255], 0.14)),
    onLight: readable(accent, "#ffffff", [0, 0, 0], 3),
    onDark: readable(accent, "#14161f", [255, 255, 255], 3),
  };
}

/** The palette as custom properties of the host. */
export function paletteCss(color: string | undefined, radius: number | undefined): string {
  const { accent, on, strong, onLight, onDark } = palette(color);
  const round = radius === undefined ? "" : `--radius:${Math.min(32, Math.max(0, radius))}px;`;
  return (
    `:host{--accent:${accent};--on-accent:${on};--accent-strong:${strong};--accent-on-dark:${onDark};${round}}` +
    `:host,.panel[data-theme="light"]{--focus:${onLight};--accent-dot:${onLight}}` +
    `.panel[data-theme="dark"]{--focus:${onDark};--accent-dot:${onDark}}`
  );
}
