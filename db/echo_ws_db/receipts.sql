-- Receipts: watermarks for each member, and a delivery_tracking row for each recipient of each message.

-- function: messages.acknowledge
-- Raise a member's watermarks and bring the delivery rows between the old and the new ones up to date: at most a
-- thousand messages a call, so call again while the watermark is below what was asked. A status never goes back.
-- Who blocks the sender of a direct message leaves its row as it is: that sender is told nothing more.
-- A channel has no rows, and each member's watermarks are written at most once in 5 s: `wait_ms` says how much is left.
CREATE OR REPLACE FUNCTION messages.acknowledge(
    conversation UUID, recipient UUID, up_to BIGINT, is_read BOOLEAN,
    OUT outcome TEXT, OUT delivered_seq BIGINT, OUT read_seq BIGINT, OUT changed BOOLEAN, OUT is_channel BOOLEAN, OUT wait_ms INT)
LANGUAGE plpgsql AS $$
DECLARE
    old messages.members;
    top BIGINT;
BEGIN
    SELECT m.* INTO old FROM messages.members m
    WHERE m.conversation_id = conversation AND m.user_id = recipient AND m.left_seq IS NULL
    FOR NO KEY UPDATE;
    SELECT h.last_seq, c.type = 'channel' INTO top, is_channel
    FROM messages.heads h JOIN messages.conversations c ON c.id = h.conversation_id AND c.deleted_at IS NULL
    WHERE h.conversation_id = old.conversation_id;
    IF NOT FOUND THEN
        outcome = 'not_found';
        RETURN;
    END IF;
    outcome = 'ok';
    up_to = least(up_to, top, CASE WHEN is_read THEN old.read_seq ELSE old.delivered_seq END + 1000);
    delivered_seq = greatest(old.delivered_seq, up_to);
    read_seq = CASE WHEN is_read THEN greatest(old.read_seq, up_to) ELSE old.read_seq END;
    changed = (delivered_seq, read_seq) <> (old.delivered_seq, old.read_seq);
    IF NOT changed THEN
        RETURN;
    END IF;
    IF is_channel AND old.receipts_at > CURRENT_TIMESTAMP - INTERVAL '5 seconds' THEN
        wait_ms = 1 + 1000 * extract(epoch FROM old.receipts_at + INTERVAL '5 seconds' - CURRENT_TIMESTAMP);
        RETURN;
    END IF;
    UPDATE messages.members m
    SET delivered_seq = acknowledge.delivered_seq, read_seq = acknowledge.read_seq, receipts_at = CURRENT_TIMESTAMP
    WHERE m.conversation_id = conversation AND m.user_id = recipient AND m.left_seq IS NULL;
    IF is_channel THEN
        RETURN;
    END IF;
    INSERT INTO messages.delivery_tracking AS t (message_id, user_id, status, delivered_at, read_at)
    SELECT m.id, recipient, CASE WHEN m.seq <= read_seq THEN 'read' ELSE 'delivered' END, CURRENT_TIMESTAMP,
           CASE WHEN m.seq <= read_seq THEN CURRENT_TIMESTAMP END
    FROM messages.messages m
    WHERE m.conversation_id = conversation AND m.from_user_id <> recipient
      AND m.withheld_from IS DISTINCT FROM recipient
      AND NOT EXISTS (SELECT FROM users.blocked_users b
                      WHERE m.to_user_id = recipient AND b.user_id = recipient AND b.blocked_user_id = m.from_user_id)
      AND m.seq > CASE WHEN read_seq > old.read_seq THEN old.read_seq ELSE old.delivered_seq END
      AND m.seq <= CASE WHEN delivered_seq > old.delivered_seq THEN delivered_seq ELSE read_seq END
    ON CONFLICT (message_id, user_id) DO UPDATE
    SET status = excluded.status,
        delivered_at = coalesce(t.delivered_at, excluded.delivered_at),
        read_at = coalesce(t.read_at, excluded.read_at)
    WHERE t.status = 'sent' OR (t.status = 'delivered' AND excluded.status = 'read');
END
$$;

-- name: acknowledge(conversation, recipient, up_to, is_read) -> ReceiptRow
-- Raise a member's watermarks, by at most a thousand messages.
SELECT outcome, delivered_seq, read_seq, changed, is_channel, wait_ms FROM messages.acknowledge($1, $2, $3, $4)
