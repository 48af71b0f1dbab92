-- Reactions: who put which emoji on a message. Setting one is messages.react.

-- name: page(conversation, message, viewer, emoji, limit, after, after_id) -> ReactionRow
-- The reactions on a message that the viewer may read, above a place in the order, which is (created_at, id).
SELECT r.id, r.user_id, r.emoji, r.created_at
FROM messages.reactions r
WHERE r.message_id = $2 AND ($4::text IS NULL OR r.emoji = $4)
  AND ($6::timestamp IS NULL OR (r.created_at, r.id) > ($6, $7::uuid))
  AND (messages.readable($1, $2, $3)).id IS NOT NULL
ORDER BY r.created_at, r.id
LIMIT $5
