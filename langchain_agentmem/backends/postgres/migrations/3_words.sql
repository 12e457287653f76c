Words without endings such as those of Bob's and don't, in what LangGraph's own store puts too.

-- plain --
-- A text without these endings, accents and punctuation, so that every word of it is found by itself.
CREATE OR REPLACE FUNCTION agentmem_plain(text_ text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(
        regexp_replace(normalize(regexp_replace(
            text_, '(?<=\w)((?<!\mca)n(?=[''\u2019\u02bc\uff07]t\M))?[''\u2019\u02bc\uff07](s|t|ll|re|ve|m|d)\M', '', 'gi'
        ), NFKD), '[\u0300-\u036f]', '', 'g'),
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u2000-\u206f\u3000-\u303f]+', ' ', 'g'
    )
$$
