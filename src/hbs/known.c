#include "hbs/known.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/key.h"

/* Trees of public test vectors: from NIST's ACVP server (LMS) and from the KAT collection of Kris
 * Kwiatkowski (XMSS), both listed in tests/vectors/data/README.md. Hexadecimal. */
static const struct hbs_known trees[] = {
    {.scheme = "lms",
     .names = {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W4"},
     .hash = HBS_SHA256,
     .n = 32,
     .id = "bc68e9f5a46adc4fc6d14a3e97900f2d",
     .secret = "0251595e756174ce978fbcb447368ef85aa5b405e068b90e1c003b2939007bc9",
     .root = "c0a7f65c779b5cafeeb51100a28140913ce7ef8a08630cb766144e32319779cf"},
    {.scheme = "lms",
     .names = {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4"},
     .hash = HBS_SHA256,
     .n = 24,
     .id = "821898870d2a5381788ab5674d6f11bb",
     .secret = "c7874e77a350e430e1a07d4b4b9e28d20872aeb6c19e265e",
     .root = "cab4de5afe9c36497e3baa298c118593a260a3a074431335"},
    {.scheme = "lms",
     .names = {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W4"},
     .hash = HBS_SHAKE256,
     .n = 32,
     .id = "fe5b3a08a200b5afad4a59ca897cbadb",
     .secret = "4e6c2a9d5167641b77d0f61581a9f9258e86c5b6a2732de7f7ec07c18fedcf08",
     .root = "9590d28123fcbbce84479cdbdc8c092166c1fb812026d972770c106fd1784f8f"},
    {.scheme = "lms",
     .names = {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W4"},
     .hash = HBS_SHAKE256,
     .n = 24,
     .id = "16e3ac49713e6e51f19af6f13cdaee5b",
     .secret = "e9d947ec038a14994419ca0b6a16914d31ae9be820c131f8",
     .root = "abc6eb4125dd53fffb16a5305c0f0d4fcce4fd2c1a26f8f9"},
    {.scheme = "xmss",
     .names = {"XMSS-SHA2_10_256", NULL},
     .hash = HBS_SHA256,
     .n = 32,
     .id = "12df14700f3c75a660ea17e4a41ff60ac7b77e000e3e9acce95fe7f608ac59b1",
     .secret = "25874b9a3354d824f19204c517736cc3a32ba7d865e62bce9268a71ad8191810",
     .root = "48cf36799f1947a1f28b785b8095d737105408d3d1727a55bc9aa5285be9ff34"},
    {.scheme = "xmss",
     .names = {"XMSS-SHA2_10_192", NULL},
     .hash = HBS_SHA256,
     .n = 24,
     .id = "0be79ce45e685962f900b82da16e19ae7cb6a8fd6c1fb637",
     .secret = "0e208ad780322704c21f286dc0a8fcaa5f6b79a9fc272f62",
     .root = "60b79eca207d3e895e6105afa9e8aa1a23f5c905dd38a01e"},
    {.scheme = "xmss",
     .names = {"XMSS-SHAKE256_10_256", NULL},
     .hash = HBS_SHAKE256,
     .n = 32,
     .id = "78c31f6455c140b155f0f3378bdbbb48c3832f8ba9c9a81637e19dc503a12954",
     .secret = "011a928804e25bd3e2bd265e295aaabd4b55ed1b62feef1da46a226c5a266043",
     .root = "fd630a6e93a8f5a22973b2c07d9b473d2ce5c2103c2eeea35255585f41e86771"},
    {.scheme = "xmss",
     .names = {"XMSS-SHAKE256_10_192", NULL},
     .hash = HBS_SHAKE256,
     .n = 24,
     .id = "03fea488db2ae3768d0e8e3bf7a81f3ef216f381d8109b18",
     .secret = "5c81bda3e693d3ceeb768be459f3d7a834221b1f15488620",
     .root = "16db5ea1e54c3cf765c1dc9ce681bd45155ed6cd6788b6e2"},
};

/* RFC 8554 Appendix F, test case 1: HSS with two levels, LMS_SHA256_M32_H5 and LMOTS_SHA256_N32_W8.
 */
static const char rfc8554_message[] =
    "The powers not delegated to the United States by the Constitution, nor prohibited by it to "
    "the States, are reserved to the States respectively, or to the people.\n";

static const char rfc8554_public[] =
    "00000002000000050000000461a5d57d37f5e46bfb7520806b07a1b850650e3b31fe4a773ea2"
    "9a07f09cf2ea30e579f0df58ef8e298da0434cb2b878";

static const char rfc8554_signature[] =
    "000000010000000500000004d32b56671d7eb98833c49b433c272586bc4a1c8a8970528ffa04"
    "b966f9426eb9965a25bfd37f196b9073f3d4a232feb69128ec45146f86292f9dff9610a7bf95"
    "a64c7f60f6261a62043f86c70324b7707f5b4a8a6e19c114c7be866d488778a0e05fd5c6509a"
    "6e61d559cf1a77a970de927d60c70d3de31a7fa0100994e162a2582e8ff1b10cd99d4e8e413e"
    "f469559f7d7ed12c838342f9b9c96b83a4943d1681d84b15357ff48ca579f19f5e71f18466f2"
    "bbef4bf660c2518eb20de2f66e3b14784269d7d876f5d35d3fbfc7039a462c716bb9f6891a7f"
    "41ad133e9e1f6d9560b960e7777c52f060492f2d7c660e1471e07e72655562035abc9a701b47"
    "3ecbc3943c6b9c4f2405a3cb8bf8a691ca51d3f6ad2f428bab6f3a30f55dd9625563f0a75ee3"
    "90e385e3ae0b906961ecf41ae073a0590c2eb6204f44831c26dd768c35b167b28ce8dc988a37"
    "48255230cef99ebf14e730632f27414489808afab1d1e783ed04516de012498682212b078105"
    "79b250365941bcc98142da13609e9768aaf65de7620dabec29eb82a17fde35af15ad238c73f8"
    "1bdb8dec2fc0e7f932701099762b37f43c4a3c20010a3d72e2f606be108d310e639f09ce7286"
    "800d9ef8a1a40281cc5a7ea98d2adc7c7400c2fe5a101552df4e3cccfd0cbf2ddf5dc6779cbb"
    "c68fee0c3efe4ec22b83a2caa3e48e0809a0a750b73ccdcf3c79e6580c154f8a58f7f24335ee"
    "c5c5eb5e0cf01dcf4439424095fceb077f66ded5bec73b27c5b9f64a2a9af2f07c05e99e5cf8"
    "0f00252e39db32f6c19674f190c9fbc506d826857713afd2ca6bb85cd8c107347552f30575a5"
    "417816ab4db3f603f2df56fbc413e7d0acd8bdd81352b2471fc1bc4f1ef296fea1220403466b"
    "1afe78b94f7ecf7cc62fb92be14f18c2192384ebceaf8801afdf947f698ce9c6ceb696ed70e9"
    "e87b0144417e8d7baf25eb5f70f09f016fc925b4db048ab8d8cb2a661ce3b57ada67571f5dd5"
    "46fc22cb1f97e0ebd1a65926b1234fd04f171cf469c76b884cf3115cce6f792cc84e36da5896"
    "0c5f1d760f32c12faef477e94c92eb75625b6a371efc72d60ca5e908b3a7dd69fef0249150e3"
    "eebdfed39cbdc3ce9704882a2072c75e13527b7a581a556168783dc1e97545e31865ddc46b3c"
    "957835da252bb7328d3ee2062445dfb85ef8c35f8e1f3371af34023cef626e0af1e0bc017351"
    "aae2ab8f5c612ead0b729a1d059d02bfe18efa971b7300e882360a93b025ff97e9e0eec0f3f3"
    "f13039a17f88b0cf808f488431606cb13f9241f40f44e537d302c64a4f1f4ab949b9feefadcb"
    "71ab50ef27d6d6ca8510f150c85fb525bf25703df7209b6066f09c37280d59128d2f0f637c7d"
    "7d7fad4ed1c1ea04e628d221e3d8db77b7c878c9411cafc5071a34a00f4cf07738912753dfce"
    "48f07576f0d4f94f42c6d76f7ce973e9367095ba7e9a3649b7f461d9f9ac1332a4d1044c96ae"
    "fee67676401b64457c54d65fef6500c59cdfb69af7b6dddfcb0f086278dd8ad0686078dfb0f3"
    "f79cd893d314168648499898fbc0ced5f95b74e8ff14d735cdea968bee7400000005d8b8112f"
    "9200a5e50c4a262165bd342cd800b8496810bc716277435ac376728d129ac6eda839a6f357b5"
    "a04387c5ce97382a78f2a4372917eefcbf93f63bb59112f5dbe400bd49e4501e859f885bf073"
    "6e90a509b30a26bfac8c17b5991c157eb5971115aa39efd8d564a6b90282c3168af2d30ef89d"
    "51bf14654510a12b8a144cca1848cf7da59cc2b3d9d0692dd2a20ba3863480e25b1b85ee860c"
    "62bf51360000000500000004d2f14ff6346af964569f7d6cb880a1b66c5004917da6eafe4d9e"
    "f6c6407b3db0e5485b122d9ebe15cda93cfec582d7ab0000000a000000040703c491e7558b35"
    "011ece3592eaa5da4d918786771233e8353bc4f62323185c95cae05b899e35dffd7170547062"
    "09988ebfdf6e37960bb5c38d7657e8bffeef9bc042da4b4525650485c66d0ce19b317587c6ba"
    "4bffcc428e25d08931e72dfb6a120c5612344258b85efdb7db1db9e1865a73caf96557eb39ed"
    "3e3f426933ac9eeddb03a1d2374af7bf77185577456237f9de2d60113c23f846df26fa942008"
    "a698994c0827d90e86d43e0df7f4bfcdb09b86a373b98288b7094ad81a0185ac100e4f2c5fc3"
    "8c003c1ab6fea479eb2f5ebe48f584d7159b8ada03586e65ad9c969f6aecbfe44cf356888a7b"
    "15a3ff074f771760b26f9c04884ee1faa329fbf4e61af23aee7fa5d4d9a5dfcf43c4c26ce8ae"
    "a2ce8a2990d7ba7b57108b47dabfbeadb2b25b3cacc1ac0cef346cbb90fb044beee4fac2603a"
    "442bdf7e507243b7319c9944b1586e899d431c7f91bcccc8690dbf59b28386b2315f3d36ef2e"
    "aa3cf30b2b51f48b71b003dfb08249484201043f65f5a3ef6bbd61ddfee81aca9ce60081262a"
    "00000480dcbc9a3da6fbef5c1c0a55e48a0e729f9184fcb1407c31529db268f6fe50032a363c"
    "9801306837fafabdf957fd97eafc80dbd165e435d0e2dfd836a28b354023924b6fb7e48bc0b3"
    "ed95eea64c2d402f4d734c8dc26f3ac591825daef01eae3c38e3328d00a77dc657034f287ccb"
    "0f0e1c9a7cbdc828f627205e4737b84b58376551d44c12c3c215c812a0970789c83de51d6ad7"
    "87271963327f0a5fbb6b5907dec02c9a90934af5a1c63b72c82653605d1dcce51596b3c2b456"
    "96689f2eb382007497557692caac4d57b5de9f5569bc2ad0137fd47fb47e664fcb6db4971f5b"
    "3e07aceda9ac130e9f38182de994cff192ec0e82fd6d4cb7f3fe00812589b7a7ce5154404564"
    "33016b84a59bec6619a1c6c0b37dd1450ed4f2d8b584410ceda8025f5d2d8dd0d2176fc1cf2c"
    "c06fa8c82bed4d944e71339ece780fd025bd41ec34ebff9d4270a3224e019fcb444474d482fd"
    "2dbe75efb20389cc10cd600abb54c47ede93e08c114edb04117d714dc1d525e11bed8756192f"
    "929d15462b939ff3f52f2252da2ed64d8fae88818b1efa2c7b08c8794fb1b214aa233db31628"
    "33141ea4383f1a6f120be1db82ce3630b3429114463157a64e91234d475e2f79cbf05e4db6a9"
    "407d72c6bff7d1198b5c4d6aad2831db61274993715a0182c7dc8089e32c8531deed4f7431c0"
    "7c02195eba2ef91efb5613c37af7ae0c066babc69369700e1dd26eddc0d216c781d56e4ce47e"
    "3303fa73007ff7b949ef23be2aa4dbf25206fe45c20dd888395b2526391a724996a44156beac"
    "808212858792bf8e74cba49dee5e8812e019da87454bff9e847ed83db07af313743082f880a2"
    "78f682c2bd0ad6887cb59f652e155987d61bbf6a88d36ee93b6072e6656d9ccbaae3d655852e"
    "38deb3a2dcf8058dc9fb6f2ab3d3b3539eb77b248a661091d05eb6e2f297774fe6053598457c"
    "c61908318de4b826f0fc86d4bb117d33e865aa805009cc2918d9c2f840c4da43a703ad9f5b58"
    "06163d7161696b5a0adc00000005d5c0d1bebb06048ed6fe2ef2c6cef305b3ed633941ebc8b3"
    "bec9738754cddd60e1920ada52f43d055b5031cee6192520d6a5115514851ce7fd448d4a39fa"
    "e2ab2335b525f484e9b40d6a4a969394843bdcf6d14c48e8015e08ab92662c05c6e9f90b65a7"
    "a6201689999f32bfd368e5e3ec9cb70ac7b8399003f175c40885081a09ab3034911fe1256310"
    "51df0408b3946b0bde790911e8978ba07dd56c73e7ee";

#define RFC8554_PUB_LEN ((sizeof(rfc8554_public) - 1) / 2)
#define RFC8554_SIG_LEN ((sizeof(rfc8554_signature) - 1) / 2)

const struct hbs_known *hbs_known_at(size_t i)
{
    return i < sizeof(trees) / sizeof(trees[0]) ? &trees[i] : NULL;
}

bool hbs_known_tree(const struct hbs_known *known, struct err *err)
{
    uint8_t id[HBS_KEY_ID_LEN] = {0};
    uint8_t secret[HBS_N_MAX] = {0};
    uint8_t expected[HBS_N_MAX] = {0};
    uint8_t root[HBS_N_MAX];
    uint8_t path[HBS_KNOWN_HEIGHT_MAX * HBS_N_MAX];
    struct hbs_key key;
    MUST(hex_decode(id, strlen(known->id) / 2, known->id));
    MUST(hex_decode(secret, known->n, known->secret));
    MUST(hex_decode(expected, known->n, known->root));
    MUST(hbs_key_new(&key, known->scheme, known->names, known->names[1] != NULL ? 2 : 1, id,
                     NULL) == RC_OK);
    const struct hbs_tree tree = hbs_key_top(&key);
    MUST(tree.height <= HBS_KNOWN_HEIGHT_MAX);
    if (hbs_tree_build(&tree, secret, 0, root, path, err) != RC_OK)
        return false;
    return ct_equal(root, expected, known->n);
}

bool hbs_known_signature(void)
{
    uint8_t public[RFC8554_PUB_LEN];
    uint8_t sig[RFC8554_SIG_LEN];
    struct hbs_public key;
    struct err none = {0};
    MUST(hex_decode(public, sizeof(public), rfc8554_public));
    MUST(hex_decode(sig, sizeof(sig), rfc8554_signature));
    MUST(hbs_public_parse(&key, HBS_SCHEME_HSS, public, sizeof(public), NULL) == RC_OK);
    const size_t len = sizeof(rfc8554_message) - 1;
    if (hbs_verify(&key, rfc8554_message, len, sig, sizeof(sig), &none) != RC_OK)
        return false;
    /* One that says yes to everything would pass so far. */
    if (hbs_verify(&key, rfc8554_message, len - 1, sig, sizeof(sig), &none) == RC_OK)
        return false;
    sig[sizeof(sig) - 1] ^= 1;
    return hbs_verify(&key, rfc8554_message, len, sig, sizeof(sig), &none) != RC_OK;
}
