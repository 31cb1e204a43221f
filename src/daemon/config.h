/*
 * config: the one configuration file of the service, strict JSON: unknown or repeated members,
 * wrong types and numbers out of range are refused with the path, what is wrong and what is right.
 *
 * Documented in tidemark.conf(5). Uses: base, Jansson, and the settings structs of signer and http.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "http/front.h"
#include "policy/access.h"
#include "signer/core.h"

#define CONFIG_PATH_MAX 256
#define CONFIG_TCTI_MAX 256
#define CONFIG_MEMBERS_MAX 96
#define CONFIG_FILE_MAX (256 * 1024)
#define CONFIG_DEFAULT_PATH SYSCONFDIR "/tidemark/tidemark.json"

struct config {
    char state_dir[CONFIG_PATH_MAX];
    char tcti[CONFIG_TCTI_MAX];
    char owner_auth_file[CONFIG_PATH_MAX]; /* "" for none; read by operations only (owner.h) */
    char endorsement_auth_file[CONFIG_PATH_MAX]; /* the same of the endorsement hierarchy */
    struct tpm_config tpm;                       /* tcti points into this struct */
    char pcrs_text[TPM_PCRS_TEXT];
    struct tpm_pcrs pcrs; /* bank and selection, for keys that are made or sealed anew */
    struct key_settings settings;
    struct core_settings core;  /* limits of keys, and the log level */
    uint64_t attest_per_minute; /* attestations that clients may ask for */
    struct access access;       /* identities; empty: none are configured */
    uint32_t idle_ms;
    int64_t restart_delay_ms_max; /* longest pause before a process that ended is started again */
    bool sandbox;                 /* front and core are locked in (sandbox.h) */
    char also_read[CONFIG_PATH_MAX]; /* "" for none */
    char http_unix[CONFIG_PATH_MAX]; /* "" for none */
    char http_tcp_address[64];       /* "" for none; loopback only */
    uint16_t http_tcp_port;
    char tls_address[64]; /* "" for none; any address */
    uint16_t tls_port;
    struct front_config front; /* listeners and spool are filled by the supervisor */
    /* as they were read, for config_change(): numbers, and which of the choices */
    uint64_t numbers[CONFIG_MEMBERS_MAX];
    int virtual_choice, log_choice, sandbox_choice;
};

/**
 * Read and check a configuration file, to its end, whatever is wrong in it.
 * @param[in]  path    NULL for CONFIG_DEFAULT_PATH.
 * @param[in]  tell    Gets every mistake as a line without its end (mistakes.h), in the order of
 * the file; NULL for nobody. A file that is no JSON has one.
 * @param[out] config  Complete on RC_OK, with defaults where the file is silent.
 * @retval RC_REFUSED_CONFIG  The text names file, path, and what is wrong there, of the first one.
 */
enum rc config_read(struct config *config, const char *path, void (*tell)(const char *text),
                    struct err *err) MUST_CHECK;

/**
 * True if front and core must be started anew for the other configuration: who may do what has
 * changed, and connections that there are were let in by the old rules.
 */
bool config_renews(const struct config *from, const struct config *to) MUST_CHECK;

/**
 * May a running service go over from one configuration to the other? What may change is marked in
 * tidemark.conf(5); everything else needs a restart.
 * @retval RC_REFUSED_CONFIG  The text names the first member that differs and may not.
 */
enum rc config_change(const struct config *from, const struct config *to,
                      struct err *err) MUST_CHECK;

#endif
