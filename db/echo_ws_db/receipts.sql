-- Receipts: watermarks for each member, and a delivery_tracking row for each recipient of each message.

-- function: messages.take_receipt
-- Raise a member's watermarks and bring the delivery rows up to what the others are told: at most a thousand messages a
-- call, so call again while there is `more`. A status never goes back. Reading takes back a mark as unread (`unmarked`).
-- A channel has no rows, and each member's watermarks are written at most once in 5 s: `wait_ms` says how much is left.
-- While the member blocks the other one of a direct conversation, only the own watermarks move: rows and what is told
-- follow with the first receipt after that. What was withheld stays `sent`.
-- `told` says who hears of it: `own` devices alone; all others that it was `delivered`; or `all`, but those in `apart`, who
-- show no receipts or are shown none, only that it was delivered, if that is new (`arrived`).
CREATE OR REPLACE FUNCTION messages.take_receipt(
    conversation UUID, recipient UUID, up_to BIGINT, is_read BOOLEAN,
    OUT outcome TEXT, OUT delivered_seq BIGINT, OUT read_seq BIGINT, OUT more BOOLEAN, OUT wait_ms INT, OUT unmarked BOOLEAN,
    OUT told TEXT, OUT arrived BOOLEAN, OUT apart UUID[])
LANGUAGE plpgsql AS $$
DECLARE
    step CONSTANT BIGINT = 1000;
    most_told CONSTANT INT = 1000;  -- members: in larger conversations each receipt would cost too many deliveries
    old messages.members;
    place RECORD;
    is_kept BOOLEAN;
    own_moved BOOLEAN;
    was_delivered BIGINT;
    was_read BIGINT;
    told_delivered BIGINT;
    told_read BIGINT;
BEGIN
    unmarked = is_read AND EXISTS (
        SELECT FROM messages.members m
        WHERE m.conversation_id = conversation AND m.user_id = recipient AND m.left_seq IS NULL AND m.marked_unread);
    IF unmarked THEN  -- the user's head before the membership, as in every change of one
        PERFORM FROM users.heads h WHERE h.user_id = recipient FOR NO KEY UPDATE;
    END IF;
    SELECT m.* INTO old FROM messages.members m
    WHERE m.conversation_id = conversation AND m.user_id = recipient AND m.left_seq IS NULL
    FOR NO KEY UPDATE;
    SELECT h.last_seq, h.member_count, c.type INTO place
    FROM messages.heads h JOIN messages.conversations c ON c.id = h.conversation_id AND c.deleted_at IS NULL
    WHERE h.conversation_id = old.conversation_id;
    IF NOT FOUND THEN
        outcome = 'not_found';
        RETURN;
    END IF;
    outcome = 'ok';
    unmarked = unmarked AND old.marked_unread;
    is_kept = place.type = 'direct' AND EXISTS (
        SELECT FROM messages.members p
        JOIN users.blocked_users b ON b.user_id = recipient AND b.blocked_user_id = p.user_id
        WHERE p.conversation_id = conversation AND p.user_id <> recipient AND p.left_seq IS NULL);

    up_to = least(up_to, place.last_seq);
    read_seq = CASE WHEN is_read THEN greatest(old.read_seq, least(up_to, old.read_seq + step)) ELSE old.read_seq END;
    delivered_seq = greatest(old.delivered_seq, read_seq,
                             CASE WHEN NOT is_read THEN least(up_to, old.delivered_seq + step) END);
    own_moved = (delivered_seq, read_seq) <> (old.delivered_seq, old.read_seq);
    was_delivered = coalesce(old.told_delivered_seq, old.delivered_seq);
    was_read = coalesce(old.told_read_seq, old.read_seq);
    told_read = CASE WHEN is_kept THEN was_read ELSE least(read_seq, was_read + step) END;
    told_delivered = CASE WHEN is_kept THEN was_delivered
                          ELSE greatest(told_read, least(delivered_seq, was_delivered + step)) END;
    arrived = told_delivered > was_delivered;
    more = CASE WHEN is_read THEN read_seq ELSE delivered_seq END < up_to
           OR (NOT is_kept AND (told_delivered, told_read) <> (delivered_seq, read_seq));
    IF own_moved AND place.type = 'channel' AND old.receipts_at > CURRENT_TIMESTAMP - INTERVAL '5 seconds' THEN
        wait_ms = 1 + 1000 * extract(epoch FROM old.receipts_at + INTERVAL '5 seconds' - CURRENT_TIMESTAMP);
        RETURN;
    END IF;
    IF NOT (own_moved OR unmarked OR arrived OR told_read > was_read) THEN
        RETURN;
    END IF;

    UPDATE messages.members m
    SET delivered_seq = take_receipt.delivered_seq, read_seq = take_receipt.read_seq,
        receipts_at = CASE WHEN own_moved THEN CURRENT_TIMESTAMP ELSE m.receipts_at END,
        told_delivered_seq = nullif(told_delivered, take_receipt.delivered_seq),
        told_read_seq = nullif(told_read, take_receipt.read_seq),
        told_at = CASE WHEN arrived OR told_read > was_read THEN CURRENT_TIMESTAMP ELSE coalesce(m.told_at, m.receipts_at) END,
        told_delivered_at = CASE WHEN arrived THEN CURRENT_TIMESTAMP ELSE coalesce(m.told_delivered_at, m.receipts_at) END,
        marked_unread = m.marked_unread AND NOT unmarked,
        user_rev = CASE WHEN unmarked THEN users.take_rev(recipient) ELSE m.user_rev END
    WHERE m.conversation_id = conversation AND m.user_id = recipient AND m.left_seq IS NULL;
    IF own_moved THEN
        told = 'own';
    END IF;
    IF place.type = 'channel' OR NOT (arrived OR told_read > was_read) THEN
        RETURN;
    END IF;

    INSERT INTO messages.delivery_tracking AS t (message_id, user_id, status, delivered_at, read_at)
    SELECT m.id, recipient, w.status, CASE WHEN w.status <> 'sent' THEN CURRENT_TIMESTAMP END,
           CASE WHEN w.status = 'read' THEN CURRENT_TIMESTAMP END
    FROM (
        SELECT m.id, m.from_user_id, m.withheld_from, 'read' AS status FROM messages.messages m
        WHERE m.conversation_id = conversation AND m.seq > greatest(was_read, old.joined_seq) AND m.seq <= told_read
        UNION ALL
        SELECT m.id, m.from_user_id, m.withheld_from, 'delivered' FROM messages.messages m
        WHERE m.conversation_id = conversation AND m.seq > greatest(was_delivered, told_read, old.joined_seq)
          AND m.seq <= told_delivered
    ) m
    CROSS JOIN LATERAL (SELECT CASE WHEN m.withheld_from = recipient THEN 'sent' ELSE m.status END AS status) w
    WHERE m.from_user_id <> recipient
    ON CONFLICT (message_id, user_id) DO UPDATE
    SET status = excluded.status,
        delivered_at = coalesce(t.delivered_at, excluded.delivered_at),
        read_at = coalesce(t.read_at, excluded.read_at)
    WHERE (t.status = 'sent' AND excluded.status <> 'sent') OR (t.status = 'delivered' AND excluded.status = 'read');

    IF more OR place.member_count > most_told THEN
        RETURN;
    ELSIF EXISTS (SELECT FROM users.privacy_settings p WHERE p.user_id = recipient AND NOT p.show_read_receipts) THEN
        IF arrived THEN
            told = 'delivered';
        END IF;
    ELSE
        told = 'all';
        apart = ARRAY(
            SELECT m.user_id FROM messages.members m
            JOIN users.privacy_settings p ON p.user_id = m.user_id AND NOT p.show_read_receipts
            WHERE m.conversation_id = conversation AND m.left_seq IS NULL);
    END IF;
END
$$;

-- function: messages.recipients
-- To whom a message went in a direct conversation or group and how far it came, as far as `viewer` is told. Who has no row
-- and has received nothing so late stands at `sent`; newcomers, whose watermarks begin above what was there before them,
-- are no recipients.
CREATE OR REPLACE FUNCTION messages.recipients(message UUID, viewer UUID)
RETURNS TABLE (user_id UUID, status TEXT, delivered_at TIMESTAMP, read_at TIMESTAMP) LANGUAGE sql STABLE AS $$
    SELECT r.user_id, CASE WHEN r.status <> 'read' OR s.receipts THEN r.status ELSE 'delivered' END,
           r.delivered_at, CASE WHEN r.read_at IS NOT NULL AND s.receipts THEN r.read_at END
    FROM (
        SELECT t.user_id, t.status, t.delivered_at, t.read_at FROM messages.delivery_tracking t WHERE t.message_id = message
        UNION ALL
        SELECT DISTINCT p.user_id, 'sent', NULL::timestamp, NULL::timestamp
        FROM messages.messages m
        JOIN messages.members p ON p.conversation_id = m.conversation_id AND p.user_id <> m.from_user_id
             AND greatest(p.joined_seq, coalesce(p.told_delivered_seq, p.delivered_seq)) < m.seq
             AND (p.left_seq IS NULL OR m.seq <= p.left_seq)
        WHERE m.id = message
          AND NOT EXISTS (SELECT FROM messages.delivery_tracking t WHERE t.message_id = message AND t.user_id = p.user_id)
    ) r
    CROSS JOIN LATERAL users.sight(viewer, r.user_id) s
$$;

-- function: messages.unread
-- How many messages above a seq count as not read, and how many of them name the viewer: neither own, nor deleted for all
-- or for the viewer, nor withheld.
CREATE OR REPLACE FUNCTION messages.unread(conversation UUID, viewer UUID, above_seq BIGINT)
RETURNS TABLE (unread BIGINT, mentions BIGINT) LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE viewer = ANY (m.mentions))
    FROM messages.messages m
    WHERE m.conversation_id = conversation AND m.seq > above_seq AND m.from_user_id <> viewer AND m.deleted IS NOT TRUE
      AND m.withheld_from IS DISTINCT FROM viewer
      AND m.seq NOT IN (SELECT h.seq FROM messages.hidden h WHERE h.user_id = viewer AND h.conversation_id = conversation)
$$;

-- function: messages.mark_unread
CREATE OR REPLACE FUNCTION messages.mark_unread(conversation UUID, marker UUID, is_on BOOLEAN, OUT outcome TEXT)
LANGUAGE plpgsql AS $$
DECLARE
    was_on BOOLEAN;
BEGIN
    PERFORM FROM users.heads h WHERE h.user_id = marker FOR NO KEY UPDATE;
    SELECT m.marked_unread INTO was_on
    FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.conversation_id = conversation AND m.user_id = marker AND m.left_seq IS NULL
    FOR NO KEY UPDATE OF m;
    outcome = CASE WHEN FOUND THEN 'ok' ELSE 'not_found' END;
    IF was_on <> is_on THEN
        UPDATE messages.members m SET marked_unread = is_on, user_rev = users.take_rev(marker)
        WHERE m.conversation_id = conversation AND m.user_id = marker AND m.left_seq IS NULL;
    END IF;
END
$$;

-- name: acknowledge(conversation, recipient, up_to, is_read) -> ReceiptRow
-- Raise a member's watermarks, by at most a thousand messages.
SELECT outcome, delivered_seq, read_seq, more, wait_ms, unmarked, told, arrived, apart
FROM messages.take_receipt($1, $2, $3, $4)

-- name: mark_unread(conversation, marker, is_on) -> None
-- Put a conversation back among the unread ones, or take it out; as it was already: nothing changes.
SELECT messages.mark_unread($1, $2, $3) AS outcome

-- name: total(viewer) -> UnreadRow
-- What is unread in all of the viewer's conversations together.
SELECT coalesce(sum(u.unread), 0)::bigint AS unread, coalesce(sum(u.mentions), 0)::bigint AS mentions,
       count(*) FILTER (WHERE u.unread > 0 OR m.marked_unread) AS conversations
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = m.conversation_id
LEFT JOIN LATERAL messages.unread(m.conversation_id, m.user_id, greatest(m.read_seq, m.joined_seq)) u
       ON h.last_seq > m.read_seq
WHERE m.user_id = $1 AND m.left_seq IS NULL AND (h.last_seq > m.read_seq OR m.marked_unread)

-- name: totals(conversation, message, viewer) -> TotalsRow
-- How many recipients a message has, and how many of them have received and read it, as far as the viewer is told; no row
-- for what the viewer may not read now. In a channel the watermarks tell, and the rule of `users.sight` is applied
-- to all readers at once.
SELECT c.type = 'channel' AS is_channel, n.recipients, n.delivered, n.read
FROM messages.members me
JOIN messages.conversations c ON c.id = me.conversation_id AND c.deleted_at IS NULL
JOIN messages.messages m ON m.id = $2 AND m.conversation_id = c.id AND m.deleted IS NOT TRUE AND m.seq > me.joined_seq
     AND m.withheld_from IS DISTINCT FROM me.user_id
LEFT JOIN users.privacy_settings v ON v.user_id = me.user_id AND NOT v.show_read_receipts
CROSS JOIN LATERAL (
    SELECT count(*) AS recipients, count(*) FILTER (WHERE r.status <> 'sent') AS delivered,
           count(*) FILTER (WHERE r.status = 'read') AS read
    FROM messages.recipients(m.id, me.user_id) r
    HAVING c.type <> 'channel'
    UNION ALL
    SELECT count(*), count(*) FILTER (WHERE p.delivered_seq >= m.seq),
           count(*) FILTER (WHERE p.read_seq >= m.seq
                                  AND (p.user_id = me.user_id OR (s.user_id IS NULL AND v.user_id IS NULL)))
    FROM messages.members p
    LEFT JOIN users.privacy_settings s ON s.user_id = p.user_id AND NOT s.show_read_receipts
    WHERE p.conversation_id = c.id AND p.left_seq IS NULL AND p.joined_seq < m.seq AND p.user_id <> m.from_user_id
    HAVING c.type = 'channel'
) n
WHERE me.conversation_id = $1 AND me.user_id = $3 AND me.left_seq IS NULL
  AND NOT EXISTS (SELECT FROM messages.hidden h WHERE h.user_id = $3 AND h.conversation_id = $1 AND h.seq = m.seq)

-- name: recipients(message, viewer, after, limit) -> RecipientRow
-- How far a message came with each of its recipients, in the order of their ids.
SELECT r.user_id, r.status, r.delivered_at, r.read_at
FROM messages.recipients($1, $2) r
WHERE $3::uuid IS NULL OR r.user_id > $3
ORDER BY r.user_id
LIMIT $4
