/* Plans for tests, written with ' instead of " so that they can be read. */
#ifndef TESTS_PLAN_TEXT_H
#define TESTS_PLAN_TEXT_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/plan.h"

#define PLAN_TEXT_SIZE 8192

/* A whole document around an assignment, on a key of 2^10, 2^16 or 2^60 indices. */
#define PLAN_H10(assignment)                                                                       \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'lms','parameters':"              \
    "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8'],'assignment':" assignment "}"
#define PLAN_H16(assignment)                                                                       \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'xmss','parameters':"             \
    "['XMSS-SHA2_16_256'],'assignment':" assignment "}"
#define PLAN_H60(assignment)                                                                       \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'xmssmt','parameters':"           \
    "['XMSSMT-SHA2_60/6_256'],'assignment':" assignment "}"

/* Replace every ' by ". */
static inline void plan_text(char out[PLAN_TEXT_SIZE], const char *text)
{
    size_t len = strlen(text);
    MUST(len < PLAN_TEXT_SIZE);
    for (size_t i = 0; i <= len; i++)
        out[i] = text[i] == '\'' ? '"' : text[i];
}

/* Parse a text with ' for "; stops the test with the parser's words if that fails. */
static inline void plan_make(struct plan *plan, const char *text)
{
    char json[PLAN_TEXT_SIZE];
    struct err err = {0};
    plan_text(json, text);
    enum rc rc = plan_parse(plan, json, strlen(json), NULL, &err);
    if (rc != RC_OK)
        fprintf(stderr, "%s\n%s\n", json, err_text(&err));
    MUST(rc == RC_OK);
}

#endif
