import { formatAddress } from '../base/address.ts';
import type { PathInfo } from '../chat/conversation.ts';
import type { Screen, ShownEvent } from './shown-event.ts';

/** `chatty --json`: one JSON object a line, for programs. Text is as it came, escaped by JSON. */
export const jsonLines: Screen = {
  show(event, atMs) {
    const fields = fieldsOf(event);
    if (fields === undefined) return undefined;
    return JSON.stringify({ event: event.type, at: Math.round(atMs), ...fields });
  },
};

/** The contract's fields of an event; undefined for what only people are shown. */
function fieldsOf(event: ShownEvent): Record<string, unknown> | undefined {
  switch (event.type) {
    case 'registered':
      return { server: event.server, observed: event.observed ?? null };
    case 'waiting':
    case 'matched':
      return { friend: event.friend };
    case 'connected':
    case 'path':
      return pathFields(event);
    case 'sent':
      return { id: event.id, text: event.text };
    case 'message':
      return { from: event.from, id: event.id, text: event.text, session: event.session };
    case 'delivered':
      return { id: event.id };
    case 'guessing': {
      const { plan, state, probes, elapsedMs } = event;
      return { plan, state, probes, elapsedMs: Math.round(elapsedMs) };
    }
    case 'obstacle':
      return { whose: event.whose, reason: event.reason, hint: event.hint };
    case 'relay-limited':
      return { limit: event.limit };
    case 'reconnecting':
      return {};
    case 'disconnected':
      return { reason: event.reason };
    case 'invitation':
      return { link: event.link };
    case 'error': {
      const { code, message, hint } = event.error;
      return { code, message, hint: hint ?? null };
    }
    case 'friend-ended':
      return undefined;
  }
}

function pathFields(info: PathInfo): Record<string, unknown> {
  return {
    friend: info.friend,
    path: info.path,
    kind: info.kind,
    local: formatAddress(info.local),
    remote: formatAddress(info.remote),
    sinceStartMs: info.sinceStartMs,
    sinceMatchMs: info.sinceMatchMs,
    fingerprint: info.fingerprint,
    trust: info.trust,
  };
}
