-- Conversations and who takes part.

-- function: messages.create_conversation
-- Outcomes: `ok`, `id_conflict`, `not_found` (one of the others does not exist).
-- A direct conversation is the pair's only one: eight racers get one id, a deleted one revives. A retry gets the first
-- answer before anybody's account is looked at.
CREATE OR REPLACE FUNCTION messages.create_conversation(
    new_id UUID, new_type TEXT, new_name TEXT, creator UUID, others UUID[],
    OUT outcome TEXT, OUT conversation UUID, OUT created BOOLEAN)
LANGUAGE plpgsql AS $$
DECLARE
    everyone UUID[] = ARRAY(SELECT DISTINCT u FROM unnest(others || creator) u);
    listed JSONB = jsonb_build_object(
        'user_ids', to_jsonb(everyone), 'muted', '[]'::jsonb,
        'admins', CASE new_type WHEN 'direct' THEN '[]'::jsonb ELSE jsonb_build_array(creator) END);
    pair TEXT = CASE new_type WHEN 'direct' THEN messages.pair(listed) END;
    existing messages.conversations;
BEGIN
    created = FALSE;
    SELECT * INTO existing FROM messages.conversations
    WHERE id = new_id AND created_by = creator AND type = new_type AND direct_key IS NOT DISTINCT FROM pair
      AND deleted_at IS NULL;
    IF FOUND THEN
        outcome = 'ok';
        conversation = new_id;
        RETURN;
    END IF;
    IF (SELECT count(*) FROM auth.users WHERE id = ANY (everyone) AND deleted_at IS NULL) < cardinality(everyone) THEN
        outcome = 'not_found';
        RETURN;
    END IF;
    IF pair IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(pair, 0));
        UPDATE messages.conversations SET deleted_at = NULL WHERE direct_key = pair AND deleted_at IS NOT NULL;
        created = FOUND;
        SELECT id INTO conversation FROM messages.conversations WHERE direct_key = pair;
        IF FOUND THEN
            outcome = 'ok';
            RETURN;
        END IF;
    END IF;
    INSERT INTO messages.conversations (id, type, name, participants, created_by, direct_key)
    VALUES (new_id, new_type, new_name, listed, creator, pair)
    ON CONFLICT (id) DO NOTHING;
    created = FOUND;
    SELECT * INTO existing FROM messages.conversations WHERE id = new_id;
    conversation = existing.id;
    outcome = CASE
        WHEN (existing.created_by, existing.type) = (creator, new_type) AND existing.direct_key IS NOT DISTINCT FROM pair
            THEN 'ok'
        ELSE 'id_conflict'
    END;
END
$$;

-- name: create(conversation, type, name, creator, others) -> CreatedRow
-- Create a conversation, or find the one that is there.
SELECT outcome, conversation, created FROM messages.create_conversation($1, $2, $3, $4, $5)

-- name: page(viewer, limit, before_at, before_id) -> SummaryRow
-- The viewer's conversations, the one with the latest message first, below a place in that order.
SELECT c.id, c.type, m.role, h.last_seq, h.last_rev, m.delivered_seq, m.read_seq, c.created_at, c.name, c.created_by,
       c.last_message_id, c.last_message_at,
       CASE c.type WHEN 'direct' THEN coalesce(
           (SELECT p.user_id FROM messages.members p
            WHERE p.conversation_id = c.id AND p.user_id <> $1 AND p.left_seq IS NULL), $1) END AS peer
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = c.id
WHERE m.user_id = $1 AND m.left_seq IS NULL
  AND ($3::timestamp IS NULL OR (coalesce(c.last_message_at, c.created_at), c.id) < ($3, $4::uuid))
ORDER BY coalesce(c.last_message_at, c.created_at) DESC, c.id DESC
LIMIT $2

-- name: summary(conversation, viewer) -> SummaryRow
-- One conversation as a member sees it; no row for anybody else.
SELECT c.id, c.type, m.role, h.last_seq, h.last_rev, m.delivered_seq, m.read_seq, c.created_at, c.name, c.created_by,
       c.last_message_id, c.last_message_at,
       CASE c.type WHEN 'direct' THEN coalesce(
           (SELECT p.user_id FROM messages.members p
            WHERE p.conversation_id = c.id AND p.user_id <> $2 AND p.left_seq IS NULL), $2) END AS peer
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = c.id
WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_seq IS NULL

-- name: participants(conversation, viewer) -> ParticipantRow
-- Who takes part, by name, with the watermarks that the viewer may see; a channel's readers are not listed.
SELECT m.user_id, m.role, k.delivered_seq, k.read_seq, p.display_name, m.silenced
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id
CROSS JOIN LATERAL messages.marks($2, m, c.type = 'direct') k
LEFT JOIN users.profiles p ON p.user_id = m.user_id
WHERE m.conversation_id = $1 AND m.left_seq IS NULL AND m.role <> 'reader'
ORDER BY p.display_name, m.user_id

-- name: ever_member(conversation, viewer) -> bool
-- Whether the viewer is or was a member.
SELECT EXISTS (
    SELECT FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.conversation_id = $1 AND m.user_id = $2)

-- name: may_post(conversation, viewer) -> bool
-- Whether a member may post; no row for anybody else.
SELECT m.role <> 'reader' AND NOT m.silenced
FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_seq IS NULL
