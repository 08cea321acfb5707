-- Writes changed sagas over rows with an older version; fails if one of them is not there.
with updated as (
    update saga s
    set
        definition = u.definition,
        definition_version = u.definition_version,
        state = u.state,
        version = u.version,
        failed = u.failed,
        owed = u.owed,
        results = u.results,
        reason = u.reason,
        detail = u.detail,
        started_ms = u.started_ms,
        ended_ms = u.ended_ms,
        stalled_ms = u.stalled_ms
    from unnest(
        %(saga_ids)b::text[], %(definitions)b::text[], %(definition_versions)b::integer[], %(states)b::text[],
        %(versions)b::bigint[], %(failed)b::text[], %(owed)b::text[], %(results)b::bytea[], %(reasons)b::text[],
        %(details)b::text[], %(started_ms)b::bigint[], %(ended_ms)b::bigint[], %(stalled_ms)b::bigint[]
    ) as u (
        saga_id, definition, definition_version, state, version, failed, owed, results, reason, detail,
        started_ms, ended_ms, stalled_ms
    )
    where
        s.saga_id = u.saga_id::uuid
        and s.version < u.version
        and s.saga_id = any(%(saga_ids)b::text[]::uuid[])
    returning 1
)
select require_rows((select count(*) from updated), cardinality(%(saga_ids)b::text[]))
