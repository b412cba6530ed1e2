"""What begins a limit that partitions share and what changes it: SQL of one statement each, and no rule in Python."""

from organism.amounts.units import AMOUNT_FIELDS


def each_unit(template: str, join: str = ", ") -> str:
    """Write something for each unit, in place of ``$``."""
    return join.join(template.replace("$", unit) for unit in AMOUNT_FIELDS)


BEGIN = f"""
    WITH known AS (
        INSERT INTO organism.shared AS l (account, {each_unit("$")}, until_ns, configuration, {each_unit("c_$")})
        VALUES (%(account)s, {each_unit("%(lim_$)s")}, %(until)s, %(configuration)s, {each_unit("%(con_$)s")})
        ON CONFLICT (account) DO UPDATE SET {each_unit("$ = excluded.c_$")}, {each_unit("c_$ = excluded.c_$")},
            configuration = excluded.configuration, revision = l.revision + 1, changed = clock_timestamp()
        WHERE %(fresh)s AND l.configuration > 0 AND l.configuration < excluded.configuration
            AND ({each_unit("l.c_$ IS DISTINCT FROM excluded.c_$", " OR ")}))
    INSERT INTO organism.slices (account, p)
    SELECT %(account)s, p FROM organism.journals WHERE p = %(p)s AND epoch = %(epoch)s ON CONFLICT DO NOTHING"""  # noqa: S608

_OTHER_LIMITS = each_unit("l.$ IS DISTINCT FROM %(lim_$)s::bigint", " OR ")

# By a file a limit changes once, however many partitions and nodes are given it, and by a newer one only: what
# operators have changed since the newest stays, until a file says something else again.
CHANGE = f"""
    WITH mine AS (
        UPDATE organism.slices s SET pushed = %(pushed)s FROM organism.journals j
        WHERE s.account = %(account)s AND s.p = %(p)s AND j.p = s.p AND j.epoch = %(epoch)s
            AND s.pushed < %(pushed)s RETURNING s.account),
    lim AS (
    UPDATE organism.shared l SET changed = clock_timestamp(),
        revision = revision + CASE WHEN %(configuration)s > 0 AND NOT ({_OTHER_LIMITS}) THEN 0 ELSE 1 END,
        configuration = greatest(configuration, %(configuration)s),
        {each_unit("c_$ = CASE WHEN %(configuration)s > 0 THEN %(lim_$)s::bigint ELSE c_$ END")},
        {
    each_unit('''$ = CASE WHEN %(absolute)s OR l.$ IS NULL OR %(lim_$)s::bigint IS NULL THEN %(lim_$)s::bigint
            ELSE greatest(0, l.$ + %(lim_$)s::bigint) END''')
}
    FROM mine WHERE l.account = mine.account AND (%(configuration)s = 0 OR l.configuration < %(configuration)s
        AND (l.configuration = 0 OR {each_unit("l.c_$ IS DISTINCT FROM %(lim_$)s::bigint", " OR ")}))
    RETURNING l.account, l.revision)
    UPDATE organism.fired f SET revision = lim.revision
    FROM lim WHERE f.account = lim.account AND unit || ' ' || threshold = ANY(%(keys)s::text[])"""  # noqa: S608
