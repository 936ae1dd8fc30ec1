import { join } from 'node:path';
import process from 'node:process';
import { App } from 'cdktf';
import { ChattyStack } from './chatty-stack.ts';
import { projectSettings, ROOT } from './project.ts';
import { SettingsError } from './settings.ts';

/** As the commands of src have it for a bad configuration. */
const BAD_CONFIGURATION = 78;

// Writes the stack, for Terraform: run by the CDKTF CLI, which says where to, or by hand.
try {
  const settings = projectSettings();
  const app = new App({ outdir: process.env['CDKTF_OUTDIR'] ?? join(ROOT, 'cdktf.out') });
  new ChattyStack(app, 'chatty', settings);
  app.synth();
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = BAD_CONFIGURATION;
}
