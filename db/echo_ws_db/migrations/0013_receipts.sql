-- migrate:up

-- What the others are told of a member's receipts, where that is less than the member's own: while a member blocks the
-- other one of a direct conversation, the own watermarks move and the told ones stay.

ALTER TABLE messages.members
    ADD COLUMN told_delivered_seq BIGINT NULL,
    ADD COLUMN told_read_seq BIGINT NULL,
    ADD COLUMN told_at TIMESTAMP NULL,
    ADD COLUMN told_delivered_at TIMESTAMP NULL;
COMMENT ON COLUMN messages.members.told_delivered_seq IS 'What the others are told in place of delivered_seq; NULL: just that';
COMMENT ON COLUMN messages.members.told_read_seq IS 'What the others are told in place of read_seq; NULL: just that';
COMMENT ON COLUMN messages.members.told_at IS 'When what the others are told last moved; NULL: receipts_at';
COMMENT ON COLUMN messages.members.told_delivered_at IS 'When what the others are told as delivered last moved; NULL: receipts_at';

CREATE INDEX idx_privacy_settings_no_receipts ON users.privacy_settings(user_id) WHERE NOT show_read_receipts;

-- migrate:down
DROP INDEX users.idx_privacy_settings_no_receipts;
ALTER TABLE messages.members
    DROP COLUMN told_delivered_at, DROP COLUMN told_at, DROP COLUMN told_read_seq, DROP COLUMN told_delivered_seq;
