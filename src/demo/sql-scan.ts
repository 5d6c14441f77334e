/**
 * What an open literal, quoted name or comment waits for; empty at the top level. Only there a line that starts
 * with COPY or a backslash is what it looks like: inside a text it belongs to the text.
 */
export type SqlState = string;

const BLOCK_COMMENT = '*/';
/** A quote, a comment or a dollar quote's tag: whatever can open something. The tag may not follow a name ("a$b$"). */
const OPENING =
  /(?<!\w)E'|'|"|--|\/\*|(?<![\w$\u0080-\uffff])\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/giu;

/** The state after `line`, having been in `state` before it. Nested comments are not followed: pg_dump writes none. */
export function scanSql(line: string, state: SqlState): SqlState {
  let open = state;
  let position = 0;
  for (;;) {
    if (open !== '') position = findEnd(line, open, position);
    if (position === -1) return open;
    OPENING.lastIndex = position;
    const match = OPENING.exec(line);
    if (match === null || match[0] === '--') return '';
    position = OPENING.lastIndex;
    open = match[0] === '/*' ? BLOCK_COMMENT : match[0].toUpperCase() === "E'" ? "E'" : match[0];
  }
}

/** Position after the end of what is open, or -1. A doubled quote closes and opens again, which comes to the same. */
function findEnd(line: string, open: SqlState, from: number): number {
  if (open !== "E'") {
    const end = line.indexOf(open, from);
    return end === -1 ? -1 : end + open.length;
  }
  for (let at = from; at < line.length; at += 1) {
    if (line[at] === '\\') at += 1;
    else if (line[at] === "'" && line[at + 1] === "'") at += 1;
    else if (line[at] === "'") return at + 1;
  }
  return -1;
}
