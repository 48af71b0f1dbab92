-- Polls: messages of the type `poll`, with votes.

-- function: messages.vote
-- Put a user's votes in the place of those before; the same again: no rev taken. `closes_at` is text in UTC, to the second, and
-- compared as such: what another service wrote there may be no time.
CREATE OR REPLACE FUNCTION messages.vote(
    conversation UUID, message UUID, voter UUID, chosen INT[], OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, voter);
    poll messages.messages = messages.readable(conversation, message, voter);
    option_count INT = CASE WHEN jsonb_typeof(poll.metadata -> 'options') = 'array'
                            THEN jsonb_array_length(poll.metadata -> 'options') ELSE 0 END;
    wanted INT[] = ARRAY(SELECT DISTINCT o FROM unnest(chosen) o ORDER BY o);
BEGIN
    outcome = CASE
        WHEN me.user_id IS NULL OR poll.id IS NULL OR poll.type <> 'poll' THEN 'not_found'
        WHEN me.silenced THEN 'silenced'
        WHEN wanted = ARRAY(SELECT v.option::int FROM messages.votes v
                            WHERE v.message_id = message AND v.user_id = voter ORDER BY v.option) THEN 'ok'
        WHEN poll.metadata ->> 'closes_at' <= to_char(CURRENT_TIMESTAMP::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') THEN 'closed'
        WHEN option_count <= ANY (wanted)
             OR (cardinality(wanted) > 1 AND poll.metadata -> 'multiple' IS DISTINCT FROM 'true') THEN 'bad_option'
        ELSE 'new'
    END;
    IF outcome = 'new' THEN
        DELETE FROM messages.votes v WHERE v.message_id = message AND v.user_id = voter AND v.option <> ALL (wanted);
        INSERT INTO messages.votes (message_id, user_id, option) SELECT message, voter, o FROM unnest(wanted) o
        ON CONFLICT DO NOTHING;
        UPDATE messages.messages SET rev = messages.take_rev(conversation) WHERE id = message;
        outcome = 'ok';
    END IF;
    IF outcome = 'ok' THEN
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- name: vote(conversation, message, voter, options) -> ChangedRow
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.vote($1, $2, $3, $4)

-- name: secrecy(conversation, message, viewer) -> str
-- Whether the viewer may ask who voted in a poll: an outcome.
SELECT CASE WHEN m.id IS NULL OR m.type <> 'poll' THEN 'not_found'
            WHEN m.metadata -> 'anonymous' = 'true' THEN 'anonymous' ELSE 'ok' END AS secrecy
FROM messages.readable($1, $2, $3) m

-- name: voters(message, option, limit, after, after_user) -> VoterRow
-- Who chose an option, above a place in the order, which is (created_at, user).
SELECT v.user_id, v.created_at
FROM messages.votes v
WHERE v.message_id = $1 AND v.option = $2
  AND ($4::timestamp IS NULL OR (v.created_at, v.user_id) > ($4, $5::uuid))
ORDER BY v.created_at, v.user_id
LIMIT $3
