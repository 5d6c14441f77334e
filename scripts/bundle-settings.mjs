// How the command becomes one bundle, for the npm package and for the Python package.
export const BUNDLE = {
  bundle: true,
  platform: 'node',
  target: 'node20.20',
  format: 'esm',
  minify: true,
  // Names of functions and classes stand in stack traces of --debug, and the AWS SDK tells its errors by them.
  keepNames: true,
  legalComments: 'none',
  // CommonJS packages in the bundle call require for Node's own modules.
  banner: {
    js: "import{createRequire as lifeboatRequire}from'node:module';const require=lifeboatRequire(import.meta.url);",
  },
  logLevel: 'warning',
};
