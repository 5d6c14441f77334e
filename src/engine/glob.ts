/** Shell-style pattern (`*`, `?`, `[abc]`, `[!abc]`) as a PostgreSQL regular expression over the whole name. */
export function globToRegExp(glob: string): string {
  let pattern = '';
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i] ?? '';
    const close = char === '[' ? glob.indexOf(']', i + 2) : -1;
    if (char === '*') pattern += '.*';
    else if (char === '?') pattern += '.';
    else if (close > 0) {
      const inside = glob
        .slice(i + 1, close)
        .replace(/^!/, '^')
        .replaceAll('\\', '\\\\');
      pattern += `[${inside}]`;
      i = close;
    } else pattern += char.replace(/[\\^$.|?*+()[\]{}]/g, '\\$&');
  }
  return `^(?:${pattern})$`;
}
