/** The longest text of one message, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 65_536;

/**
 * How much may be under way from one side to the other without being acknowledged. A sender that
 * reaches either bound waits; a receiver holds what its program has not taken yet, and believes
 * that whoever sends more is hostile, so both must know the same numbers.
 */
export const MAX_UNACKNOWLEDGED_MESSAGES = 1_000;
export const MAX_UNACKNOWLEDGED_BYTES = 4 * 1024 * 1024;
