-- migrate:up transaction:false

-- Number what another service wrote before: a hundred conversations a transaction, so that it can go on writing.
-- A conversation that it touches meanwhile is adopted by the triggers at that moment.
DO $$
DECLARE
    batch UUID[];
BEGIN
    LOOP
        batch = ARRAY(
            SELECT c.id FROM messages.conversations c
            WHERE NOT EXISTS (SELECT FROM messages.heads h WHERE h.conversation_id = c.id)
            ORDER BY c.created_at, c.id LIMIT 100
        );
        EXIT WHEN batch = '{}';
        UPDATE messages.conversations c SET direct_key = p.pair
        FROM (SELECT DISTINCT ON (messages.pair(participants)) id, messages.pair(participants) AS pair
              FROM messages.conversations WHERE id = ANY (batch) AND type = 'direct'
              ORDER BY messages.pair(participants), created_at, id) p
        WHERE c.id = p.id AND NOT EXISTS (SELECT FROM messages.conversations o WHERE o.direct_key = p.pair);
        PERFORM messages.adopt(id) FROM unnest(batch) id;
        COMMIT;
    END LOOP;
END
$$;

-- migrate:down
