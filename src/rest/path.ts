/**
 * A path from a template and its values: path('/dags/{dag}/dagRuns', { dag: 'a/b' }) is /dags/a%2Fb/dagRuns. Values are
 * ids that people chose: spaces, slashes, question marks and whole URIs are among them.
 */
export function restPath(template: string, values: Readonly<Record<string, string>> = {}): string {
  return template.replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${template} has no value for ${name}`);
    return encodeSegment(value);
  });
}

/** As encodeURIComponent, and of what servers and proxies take for "here" and "up" the dots too. */
function encodeSegment(value: string): string {
  return value === '.' || value === '..' ? value.replaceAll('.', '%2E') : encodeURIComponent(value);
}
