/*
 * place: what reading a plan and mapping with it share. Internal to verify.
 * Pure, any thread.
 */
#ifndef VERIFY_PLACE_H
#define VERIFY_PLACE_H

#include "verify/verify.h"

#if TMV_WITH_PLAN

/** How many versions share the first `level` + 1 numbers; no more than version_count. */
uint64_t tmvi_plan_span(const struct tmv_plan *plan, unsigned level);

/**
 * The numbers that a version is written with; for a table, the number of its entry.
 * @retval TMV_NOT_A_VERSION  Not of the plan's form.
 * @retval TMV_OUTSIDE_PLAN   Not in the table. Numbers past their sizes are for the caller to see.
 */
enum tmv_result tmvi_version_read(const struct tmv_plan *plan, const char *version,
                                  uint64_t numbers[TMV_COMPONENTS_MAX]) TMV_CHECKED;

/** Number of a slot. Retval as tmv_plan_place_version(). */
enum tmv_result tmvi_slot_read(const struct tmv_plan *plan, const char *slot,
                               uint32_t *number) TMV_CHECKED;

#endif

#endif
