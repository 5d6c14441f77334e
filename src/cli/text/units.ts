/** 1234567 → "1,234,567". */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** "1 row", "2 rows". */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

/** Decimal units, as storage is billed: 1 MB is 1,000,000 bytes. */
export function bytes(value: number): string {
  let scaled = value;
  let unit = 0;
  // 999.95 would round to "1000.0 KB".
  while (scaled >= 999.95 && unit < BYTE_UNITS.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  // A rate need not be a whole number of bytes.
  const digits = unit === 0 ? String(Math.round(scaled)) : scaled.toFixed(1);
  return `${digits} ${BYTE_UNITS[unit] ?? ''}`;
}

/** 0.4 → "0.4 s", 75 → "1 min 15 s", 7260 → "2 h 1 min". */
export function duration(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${String(Math.floor(whole / 60))} min ${String(whole % 60)} s`;
  return `${String(Math.floor(whole / 3600))} h ${String(Math.floor((whole % 3600) / 60))} min`;
}

/** Time left, as short as a progress line needs it: "1:05", "1:02:03". */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${String(minutes)}:${two(whole % 60)}`;
  return `${String(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(whole % 60)}`;
}

const AGES = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;

/** "3 minutes ago"; the clocks of two machines differ, so a moment ahead of ours is "just now". */
export function age(moment: Date, now: Date): string {
  const seconds = Math.round((now.getTime() - moment.getTime()) / 1000);
  for (const [unit, length] of AGES) {
    if (seconds >= length) return `${counted(Math.floor(seconds / length), unit)} ago`;
  }
  return 'just now';
}

/** An ISO time in UTC for people: "2026-11-21 01:30:12 UTC". Text that is no time is shown as it is. */
export function time(iso: string): string {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return iso;
  return `${moment.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
