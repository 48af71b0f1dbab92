-- migrate:up

-- What a message is found by. The index of 0017 stands on these functions: one that is to answer differently gets another
-- name and another index.

-- Stems beside the words as they are. An operator may map the words of another language to its stemmer; docs/operating.md.
CREATE TEXT SEARCH DICTIONARY messages.latin_stems (TEMPLATE = snowball, Language = english);
CREATE TEXT SEARCH DICTIONARY messages.other_stems (TEMPLATE = snowball, Language = russian);
CREATE TEXT SEARCH CONFIGURATION messages.stems (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION messages.stems ALTER MAPPING FOR asciiword WITH messages.latin_stems;
ALTER TEXT SEARCH CONFIGURATION messages.stems ALTER MAPPING FOR word WITH messages.other_stems;

-- A text as plain words: without accents on Latin letters, without what PostgreSQL's parser takes for a URL, a path or a
-- tag. Scripts that put no spaces between words are cut into pairs of signs; what is searched in, into single ones as well.
CREATE FUNCTION messages.words_of(content TEXT, is_sought BOOLEAN) RETURNS TEXT
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    signs CONSTANT TEXT = '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af'
                          '\uf900-\ufaff\U00020000-\U0003ffff]+';
    words TEXT = left(content, 8192);
    run TEXT;
    apart TEXT = '';
BEGIN
    IF octet_length(words) > length(words) THEN
        words = regexp_replace(normalize(lower(words), NFKD), '([a-zе])[\u0300-\u036f]+', '\1', 'g');
        words = normalize(replace(translate(words, 'øłđıħŧ', 'oldiht'), 'ß', 'ss'), NFC);
        words = regexp_replace(words, '[\u00a0-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u303f\u00d7\u00f7]', ' ', 'g');
        IF words ~ signs THEN
            FOR run IN SELECT r[1] FROM regexp_matches(words, '(' || signs || ')', 'g') r LOOP
                apart = apart || ' ' || coalesce(
                    (SELECT string_agg(substr(run, n, 2), ' ' ORDER BY n) FROM generate_series(1, length(run) - 1) n), run);
                IF NOT is_sought AND length(run) > 1 THEN
                    apart = apart || ' ' || regexp_replace(run, '(.)', '\1 ', 'g');
                END IF;
            END LOOP;
            words = regexp_replace(words, signs, ' ', 'g') || apart;
        END IF;
    END IF;
    RETURN translate(words, '-./:@_+~&<>=#%', '              ');
END
$$;

-- All that a message is found by: its words, their stems, the first three letters of longer ones behind a ǂ; and what an
-- index is to look at together with them: the conversation, each thousand of its messages, the sender, the type.
CREATE FUNCTION messages.searchable(conversation UUID, seq BIGINT, sender UUID, type TEXT, content TEXT) RETURNS TSVECTOR
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    words TEXT = messages.words_of(content, FALSE);
BEGIN
    RETURN to_tsvector('pg_catalog.simple', words || ' ' || regexp_replace(words, '([^ ]{3})[^ ]+', 'ǂ\1', 'g'))
        || to_tsvector('messages.stems', words)
        || array_to_tsvector(ARRAY[
            'c:' || conversation, 'c:' || conversation || ':' || (seq >> 10), 's:' || sender, 't:' || type]);
END
$$;

-- migrate:down
DROP FUNCTION messages.searchable, messages.words_of;
DROP TEXT SEARCH CONFIGURATION messages.stems;
DROP TEXT SEARCH DICTIONARY messages.latin_stems, messages.other_stems;
