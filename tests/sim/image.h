/*
 * image: the memory of a machine, kept and resumed later.
 *
 * A forked copy of this program is the image: it has the signer's memory as it was, and sleeps. To
 * resume the image the copy is woken. It goes on as that machine, with its disk of then or of now,
 * in front of the TPM, the time and the oracle of now, which lie in shared memory; requests come,
 * and what it does is part of the story and of the counts. Then it is switched off for good, and
 * this program goes on.
 *
 * Resuming memory without the TPM must be noticed before anything is computed: sessions have moved
 * (DESIGN section 6 rule 6). A machine with a virtual TPM can be resumed together with that; what
 * may come of it is what DESIGN section 6 rule 11 says.
 *
 * Uses: sim, machine, client. fork(), two pipes. One image at a time.
 */
#ifndef SIM_IMAGE_H
#define SIM_IMAGE_H

#include "sim/machine.h"

/** Keep an image of a running machine, in place of the one before. */
void image_take(struct machine *m);

/** Resume the image, if there is one of this machine. @param[in] with_tpm  The chip goes back, too
 * (virtual TPMs only; MUST). */
void image_resume(struct machine *m, bool with_tpm);

/** Let go of the image. */
void image_drop(void);

#endif
