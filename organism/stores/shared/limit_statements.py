"""What begins a limit that partitions share and what changes it: SQL of one statement each, and no rule in Python."""

from organism.amounts.units import AMOUNT_FIELDS


def each_unit(template: str, join: str = ", ") -> str:
    """Write something for each unit, in place of ``$``."""
    return join.join(template.replace("$", unit) for unit in AMOUNT_FIELDS)


# A file that was ordered before an operator's newest change says only what later files are compared with: see CHANGE.
BEGIN = f"""
    WITH known AS (
        INSERT INTO organism.shared AS l (account, {each_unit("$")}, until_ns, configuration, {each_unit("c_$")})
        VALUES (%(account)s, {each_unit("%(lim_$)s")}, %(until)s, %(configuration)s, {each_unit("%(con_$)s")})
        ON CONFLICT (account) DO UPDATE SET
            {each_unit("$ = CASE WHEN l.configuration < excluded.configuration THEN excluded.c_$ ELSE l.$ END")},
            {each_unit("c_$ = excluded.c_$")}, configuration = excluded.configuration, changed = clock_timestamp(),
            revision = l.revision + CASE WHEN l.configuration < excluded.configuration THEN 1 ELSE 0 END
        WHERE %(fresh)s AND l.configuration > 0 AND l.configuration <= excluded.configuration
            AND ({each_unit("l.c_$ IS DISTINCT FROM excluded.c_$", " OR ")}))
    INSERT INTO organism.slices (account, p)
    SELECT %(account)s, p FROM organism.journals WHERE p = %(p)s AND epoch = %(epoch)s ON CONFLICT DO NOTHING"""  # noqa: S608

_SAYS_OTHERWISE = each_unit("l.c_$ IS DISTINCT FROM %(con_$)s::bigint", " OR ")
_OTHER_LIMITS = each_unit("%(set_$)s AND l.$ IS DISTINCT FROM %(lim_$)s::bigint", " OR ")
_BY_OPERATOR = "%(configuration)s = 0"
_APPLIES = f"({_BY_OPERATOR} OR l.configuration < %(configuration)s)"

# By a file a limit changes once, however many partitions and nodes are given it, and by a newer one only. An operator's
# change is newer than every file that was ordered before it came here: a partition that passes on later what such a
# file says notes that for the files to come, and the limit stays the operator's.
CHANGE = f"""
    WITH mine AS (
        UPDATE organism.slices s SET pushed = CASE WHEN {_BY_OPERATOR} THEN %(pushed)s ELSE s.pushed END
        FROM organism.journals j
        WHERE s.account = %(account)s AND s.p = %(p)s AND j.p = s.p AND j.epoch = %(epoch)s
            AND (s.pushed < %(pushed)s OR NOT {_BY_OPERATOR}) RETURNING s.account),
    lim AS (
    UPDATE organism.shared l SET changed = clock_timestamp(),
        revision = revision + CASE WHEN {_BY_OPERATOR} OR {_APPLIES} AND ({_OTHER_LIMITS}) THEN 1 ELSE 0 END,
        configuration = greatest(configuration, %(configuration)s, CASE WHEN {_BY_OPERATOR} THEN
            (SELECT max(number) FROM organism.configurations) END),
        {each_unit(f"c_$ = CASE WHEN {_BY_OPERATOR} AND l.configuration > 0 THEN c_$ ELSE %(con_$)s::bigint END")},
        {each_unit(f"$ = CASE WHEN %(set_$)s AND {_APPLIES} THEN %(lim_$)s::bigint ELSE l.$ END")}
    FROM mine WHERE l.account = mine.account AND ({_BY_OPERATOR} OR l.configuration <= %(configuration)s
        AND (l.configuration = 0 OR {_SAYS_OTHERWISE}))
    RETURNING l.*)
    UPDATE organism.fired f SET revision = l.revision
    FROM lim l WHERE f.account = l.account AND unit || ' ' || threshold = ANY(%(keys)s::text[])
        AND NOT ({_OTHER_LIMITS})"""  # noqa: S608
