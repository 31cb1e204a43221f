#include "ledger/internal.h"

/* Columns of a row, in the order in which rows.c reads them. */
#define COLUMNS_KEY "k.id, k.name, k.key_id, k.plan_sha256, k.public_key"
#define COLUMNS_DEVICE                                                                             \
    "d.min_window, d.w_handle, d.l_handle, d.a_handle, d.w_name, d.l_name, d.a_name, d.srk_name,"  \
    " d.w_base, d.w_first, d.l_first"
#define COLUMNS_BRANCH "b.window, b.first, b.record_sha256, b.record"
#define COLUMNS_ATTEST_KEYS "a.ak_name, a.ak_point, a.ek_name, a.ek_point"
#define COLUMNS_LEASE "l.epoch, l.window, l.number, l.first, l.count"
#define COLUMNS_INTENT                                                                             \
    "i.seq, i.epoch, i.window, i.idx, i.line, i.rank, i.version, i.slot, i.artifact_sha256,"       \
    " i.artifact_size, i.randomizer, i.value, i.requester, i.request_id, i.idempotency_key"
#define COLUMNS_RECEIPT                                                                            \
    "r.seq, r.epoch, r.window, r.idx, r.id, r.version, r.slot, r.artifact_sha256,"                 \
    " r.artifact_size, r.signature_sha256, r.caller_hash, r.requester, r.request_id,"              \
    " r.idempotency_key, r.signature"
#define COLUMNS_RESERVATION                                                                        \
    "v.seq, v.epoch, v.window, v.idx, v.id, v.intent, v.artifact_sha256, v.expires_s,"             \
    " v.requester, v.request_id, v.idempotency_key"

/* An intent in "binding" is not void; it is open if neither receipt nor burn ended it. The + keeps
 * SQLite from going through all bindings of the key instead of those behind an entry, which are
 * few. */
#define OPEN_INTENT                                                                                \
    " +b.key = ?1 AND b.seq > ?2"                                                                  \
    " AND NOT EXISTS (SELECT 1 FROM receipt AS r WHERE r.key = b.key AND r.idx = b.idx)"           \
    " AND NOT EXISTS (SELECT 1 FROM burn AS x WHERE x.key = b.key AND x.window = b.window"         \
    " AND x.first <= b.idx AND x.first + x.count > b.idx)"
#define SELECT_BOUND                                                                               \
    "SELECT " COLUMNS_INTENT ", e.at_s FROM binding AS b JOIN intent AS i ON i.seq = b.seq"        \
    " JOIN entry AS e ON e.seq = i.seq WHERE"
#define SELECT_RECEIPT                                                                             \
    "SELECT " COLUMNS_RECEIPT ", e.at_s FROM receipt AS r JOIN entry AS e ON e.seq = r.seq WHERE"

#define UNSIGNED_RESERVATION                                                                       \
    "NOT EXISTS (SELECT 1 FROM receipt AS s WHERE s.key = v.key AND s.idx = v.idx)"
/* The + as above. */
#define OPEN_RESERVATION                                                                           \
    " +v.key = ?1 AND v.seq > ?2 AND " UNSIGNED_RESERVATION                                        \
    " AND " NOT_VOID("v") " AND NOT EXISTS (SELECT 1 FROM burn AS x WHERE x.key = v.key AND "      \
                          "x.window = v.window"                                                    \
                          " AND x.first <= v.idx AND x.first + x.count > v.idx)"
#define SELECT_RESERVATION                                                                         \
    "SELECT " COLUMNS_RESERVATION ", e.at_s FROM reservation AS v"                                 \
    " JOIN entry AS e ON e.seq = v.seq WHERE "

const char *const ledger_sql[STMT_COUNT] = {
    [STMT_BEGIN] = "BEGIN IMMEDIATE",
    [STMT_COMMIT] = "COMMIT",
    [STMT_ROLLBACK] = "ROLLBACK",
    [STMT_ADD_ENTRY] = "INSERT INTO entry (seq, key, kind, at_s, hash, json) VALUES (?,?,?,?,?,?)",
    [STMT_ADD_KEY] = "INSERT INTO key (id, seq, name, key_id, plan_sha256, public_key)"
                     " VALUES (?,?,?,?,?,?)",
    [STMT_ADD_DEVICE] = "INSERT INTO device (seq, key, min_window, w_handle, l_handle, a_handle,"
                        " w_name, l_name, a_name, srk_name, w_base, w_first, l_first)"
                        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STMT_ADD_FLOOR] = "INSERT INTO floor (seq, key, min_window, why) VALUES (?,?,?,?)",
    [STMT_ADD_WINDOW] = "INSERT INTO window (seq, key, window, w, l_base) VALUES (?,?,?,?,?)",
    [STMT_ADD_BRANCH] = "INSERT INTO branch (seq, key, window, first, record_sha256, record)"
                        " VALUES (?,?,?,?,?,?)",
    [STMT_ADD_LEASE] = "INSERT INTO lease (seq, key, epoch, window, number, first, count)"
                       " VALUES (?,?,?,?,?,?,?)",
    [STMT_ADD_BINDING] = "INSERT INTO binding (seq, key, idx, epoch, window, line, rank, version,"
                         " slot) VALUES (?,?,?,?,?,?,?,?,?)",
    [STMT_ADD_INTENT] = "INSERT INTO intent (seq, key, epoch, window, idx, line, rank, version,"
                        " slot, artifact_sha256, artifact_size, randomizer, value, requester,"
                        " request_id, idempotency_key) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STMT_ADD_VOID] = "INSERT INTO void (seq, key, intent, idx) VALUES (?,?,?,?)",
    [STMT_ADD_RECEIPT] =
        "INSERT INTO receipt (seq, key, epoch, window, idx, id, version, slot,"
        " artifact_sha256, artifact_size, signature_sha256, caller_hash, requester,"
        " request_id, idempotency_key, signature)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STMT_ADD_RESERVATION] = "INSERT INTO reservation (seq, key, epoch, window, idx, id, intent,"
                             " artifact_sha256, expires_s, requester, request_id, idempotency_key)"
                             " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    [STMT_ADD_BURN] = "INSERT INTO burn (seq, key, window, first, count, why) VALUES (?,?,?,?,?,?)",
    [STMT_ADD_ATTEST_KEYS] = "INSERT INTO attest_keys (seq, key, ak_name, ak_point, ek_name,"
                             " ek_point) VALUES (?,?,?,?,?,?)",
    [STMT_ADD_ATTESTATION] = "INSERT INTO attestation (seq, key, receipt, document_sha256,"
                             " document) VALUES (?,?,?,?,?)",
    [STMT_ADD_NOTE] = "INSERT INTO note (seq, key, kind, what, number, text) VALUES (?,?,?,?,?,?)",

    [STMT_ATTEST_KEYS] = "SELECT " COLUMNS_ATTEST_KEYS " FROM attest_keys AS a WHERE a.key = ?1"
                         " ORDER BY a.seq DESC LIMIT 1",
    [STMT_ATTESTATION_OF] = "SELECT a.document FROM attestation AS a"
                            " WHERE a.key = ?1 AND a.receipt = ?2",
    [STMT_ATTESTED_AT] = "SELECT e.at_s FROM attestation AS a JOIN entry AS e ON e.seq = a.seq"
                         " WHERE a.key = ?1 ORDER BY a.seq DESC LIMIT 1",
    [STMT_KEY] = "SELECT " COLUMNS_KEY " FROM key AS k WHERE k.id = ?1",
    [STMT_DEVICE] =
        "SELECT " COLUMNS_DEVICE
        ", (SELECT e.at_s FROM entry AS e WHERE e.seq = d.seq) FROM device AS d WHERE d.key = ?1"
        " ORDER BY d.seq DESC LIMIT 1",
    [STMT_FLOOR] = "SELECT max(f.min_window) FROM floor AS f WHERE f.key = ?1",
    /* Newest first: the anchored head is never far from the end in normal life. */
    [STMT_HEAD_SEQ] = "SELECT e.seq FROM entry AS e WHERE e.key = ?1 AND e.hash = ?2"
                      " ORDER BY e.seq DESC LIMIT 1",
    [STMT_BEHIND] = "SELECT count(*) FROM entry AS e WHERE e.key = ?1 AND e.seq > ?2",
    [STMT_OPEN_INTENTS] = "SELECT count(*) FROM binding AS b WHERE" OPEN_INTENT,
    [STMT_EPOCHS] = "SELECT (SELECT max(l.epoch) FROM lease AS l WHERE l.key = ?1),"
                    " (SELECT max(r.epoch) FROM receipt AS r WHERE r.key = ?1),"
                    " (SELECT max(b.epoch) FROM binding AS b WHERE b.key = ?1)",
    [STMT_TOP_WINDOW] = "SELECT w.window, w.w FROM window AS w WHERE w.key = ?1"
                        " ORDER BY w.window DESC LIMIT 1",
    [STMT_NEXT_OPEN_INTENT] = SELECT_BOUND OPEN_INTENT " ORDER BY b.seq LIMIT 1",
    [STMT_INTENT_BY_VERSION] = SELECT_BOUND " b.key = ?1 AND b.version = ?2 AND b.slot = ?3",
    [STMT_INTENT_BY_INDEX] = SELECT_BOUND " b.key = ?1 AND b.idx = ?2",
    [STMT_BINDINGS] = SELECT_BOUND " b.key = ?1 AND b.idx >= ?2 ORDER BY b.idx LIMIT ?3",
    [STMT_RECEIPT_BY_INDEX] = SELECT_RECEIPT " r.key = ?1 AND r.idx = ?2",
    /* The + as above: the requests of that name are few, the receipts of those windows many. */
    [STMT_RECEIPT_BY_IDEMPOTENCY] =
        SELECT_RECEIPT " r.key = ?1 AND r.idempotency_key = ?2 AND r.idempotency_key <> ''"
                       " AND +r.window >= ?3 ORDER BY r.seq DESC LIMIT 1",
    [STMT_RECEIPT_TIMES] = "SELECT e.at_s, r.requester FROM receipt AS r"
                           " JOIN entry AS e ON e.seq = r.seq"
                           " WHERE r.key = ?1 ORDER BY r.epoch DESC, r.seq DESC",
    [STMT_RESERVATION_BY_INDEX] =
        SELECT_RESERVATION RESERVED("v", "?1", "?2") " ORDER BY v.intent DESC LIMIT 1",
    [STMT_NEXT_OPEN_RESERVATION] = SELECT_RESERVATION OPEN_RESERVATION " ORDER BY v.seq LIMIT 1",
    [STMT_USED_BY] = "SELECT (SELECT count(*) FROM binding AS b JOIN intent AS i ON i.seq = b.seq"
                     " WHERE b.key = ?1 AND b.window = ?2 AND i.requester = ?3),"
                     " (SELECT count(*) FROM receipt AS r"
                     " WHERE r.key = ?1 AND r.window = ?2 AND r.requester = ?3),"
                     " (SELECT count(*) FROM reservation AS v WHERE v.key = ?1 AND v.window = ?2"
                     " AND v.requester = ?3 AND v.intent = 0 AND " UNSIGNED_RESERVATION ")",
    [STMT_BRANCH_AT] = "SELECT " COLUMNS_BRANCH " FROM branch AS b"
                       " WHERE b.key = ?1 AND b.first = ?2",
    [STMT_BRANCH_LATEST] = "SELECT " COLUMNS_BRANCH " FROM branch AS b"
                           " WHERE b.key = ?1 AND b.window = ?2 ORDER BY b.seq DESC LIMIT 1",
    [STMT_LINE_MARKS] = "SELECT (SELECT max(b.rank) FROM binding AS b"
                        " WHERE b.key = ?1 AND b.line = ?2),"
                        " (SELECT max(b.window) FROM binding AS b"
                        " WHERE b.key = ?1 AND b.line = ?2)",
    [STMT_USAGE] = "SELECT (SELECT coalesce(sum(l.count), 0) FROM lease AS l"
                   " WHERE l.key = ?1 AND l.window = ?2),"
                   " (SELECT count(*) FROM binding AS b WHERE b.key = ?1 AND b.window = ?2),"
                   " (SELECT count(*) FROM receipt AS r WHERE r.key = ?1 AND r.window = ?2),"
                   " (SELECT count(*) FROM reservation AS v WHERE v.key = ?1 AND v.window = ?2"
                   " AND v.intent = 0 AND " UNSIGNED_RESERVATION ")",
    [STMT_BURNS] = "SELECT x.first, x.count FROM burn AS x WHERE x.key = ?1 AND x.window = ?2"
                   " ORDER BY x.first, x.count",
    [STMT_KEY_TOTALS] = "SELECT (SELECT coalesce(sum(l.count), 0) FROM lease AS l"
                        " WHERE l.key = ?1),"
                        " (SELECT count(*) FROM receipt AS r WHERE r.key = ?1)",
    [STMT_KEY_BURNS] = "SELECT x.first, x.count, x.why FROM burn AS x WHERE x.key = ?1"
                       " ORDER BY x.first, x.count",
    [STMT_WINDOW] = "SELECT e.at_s FROM window AS w JOIN entry AS e ON e.seq = w.seq"
                    " WHERE w.key = ?1 AND w.window = ?2",
    /* The lease that starts last at or below the index; whether it reaches is the caller's look. */
    [STMT_LEASE_OF_INDEX] = "SELECT " COLUMNS_LEASE " FROM lease AS l"
                            " WHERE l.key = ?1 AND l.first <= ?2 ORDER BY l.first DESC LIMIT 1",
    /* No burn that starts further below than the longest one is long can reach up to the index. */
    [STMT_IS_BURNED] = "SELECT EXISTS (SELECT 1 FROM burn AS x WHERE x.key = ?1 AND x.first <= ?2"
                       " AND x.first > ?2 - (SELECT max(y.count) FROM burn AS y WHERE y.key = ?1)"
                       " AND x.first + x.count > ?2)",
    [STMT_BURN_OF_INDEX] =
        "SELECT x.why FROM burn AS x WHERE x.key = ?1 AND x.first <= ?2"
        " AND x.first > ?2 - (SELECT max(y.count) FROM burn AS y WHERE y.key = ?1)"
        " AND x.first + x.count > ?2 ORDER BY x.first, x.count LIMIT 1",
    [STMT_NOTE_RANGE] = "SELECT (SELECT min(n.number) FROM note AS n"
                        " WHERE n.key = ?1 AND n.kind = ?2 AND n.what = ?3),"
                        " (SELECT max(n.number) FROM note AS n"
                        " WHERE n.key = ?1 AND n.kind = ?2 AND n.what = ?3)",
    [STMT_NOTE_BY_TEXT] = "SELECT max(n.number) FROM note AS n"
                          " WHERE n.key = ?1 AND n.kind = ?2 AND n.what = ?3"
                          " AND substr(n.text, 1, length(?4)) = ?4",
    [STMT_NOTE_LAST] = "SELECT n.seq, n.number FROM note AS n WHERE n.seq ="
                       " (SELECT max(m.seq) FROM note AS m"
                       " WHERE m.key = ?1 AND m.kind = ?2 AND m.what = ?3)",
    [STMT_NOTE_TIME] = "SELECT max(e.at_s) FROM note AS n JOIN entry AS e ON e.seq = n.seq"
                       " WHERE n.key = ?1 AND n.kind = ?2 AND n.what = ?3 AND n.number = ?4",
    [STMT_NOTE_LATEST] = "SELECT n.number, (SELECT e.at_s FROM entry AS e WHERE e.seq = n.seq)"
                         " FROM note AS n WHERE n.seq = (SELECT max(m.seq) FROM note AS m"
                         " WHERE m.key = ?1 AND m.kind = ?2 AND m.what = ?3)",
    [STMT_RECEIPT_RECENT] =
        "SELECT (SELECT e.at_s FROM entry AS e WHERE e.seq = r.seq) FROM receipt AS r"
        " WHERE r.key = ?1 ORDER BY r.epoch DESC LIMIT 1 OFFSET ?2",
    [STMT_ENTRY_JSON] = "SELECT e.json FROM entry AS e WHERE e.seq = ?1",
};

const char *const ledger_cursor_sql[TABLE_COUNT] = {
    [TABLE_KEY] = "SELECT k.seq, k.id, " COLUMNS_KEY " FROM key AS k ORDER BY k.seq",
    [TABLE_DEVICE] = "SELECT d.seq, d.key, " COLUMNS_DEVICE " FROM device AS d ORDER BY d.seq",
    [TABLE_FLOOR] = "SELECT f.seq, f.key, f.min_window, f.why FROM floor AS f ORDER BY f.seq",
    [TABLE_WINDOW] = "SELECT w.seq, w.key, w.window, w.w, w.l_base FROM window AS w"
                     " ORDER BY w.seq",
    [TABLE_BRANCH] = "SELECT b.seq, b.key, " COLUMNS_BRANCH " FROM branch AS b ORDER BY b.seq",
    [TABLE_LEASE] = "SELECT l.seq, l.key, " COLUMNS_LEASE " FROM lease AS l ORDER BY l.seq",
    [TABLE_INTENT] = "SELECT i.seq, i.key, " COLUMNS_INTENT " FROM intent AS i ORDER BY i.seq",
    [TABLE_VOID] = "SELECT v.seq, v.key, v.intent, v.idx FROM void AS v ORDER BY v.seq",
    [TABLE_RECEIPT] = "SELECT r.seq, r.key, " COLUMNS_RECEIPT " FROM receipt AS r ORDER BY r.seq",
    [TABLE_BURN] = "SELECT x.seq, x.key, x.window, x.first, x.count, x.why FROM burn AS x"
                   " ORDER BY x.seq",
    [TABLE_ATTEST_KEYS] = "SELECT a.seq, a.key, " COLUMNS_ATTEST_KEYS " FROM attest_keys AS a"
                          " ORDER BY a.seq",
    [TABLE_ATTESTATION] = "SELECT a.seq, a.key, a.receipt, a.document_sha256, a.document"
                          " FROM attestation AS a ORDER BY a.seq",
    [TABLE_RESERVATION] = "SELECT v.seq, v.key, " COLUMNS_RESERVATION " FROM reservation AS v"
                          " ORDER BY v.seq",
    [TABLE_NOTE] = "SELECT n.seq, n.key, n.kind, n.what, n.number, n.text FROM note AS n"
                   " ORDER BY n.seq",
};
