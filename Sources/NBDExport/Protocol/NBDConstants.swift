/// Numbers of the NBD protocol, as <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md> names them.
enum NBD {
    /// `NBDMAGIC`, also known as the `INIT_PASSWD`.
    static let magic: UInt64 = 0x4e42_444d_4147_4943
    /// `IHAVEOPT`.
    static let optionMagic: UInt64 = 0x4948_4156_454f_5054
    /// The magic number of option replies.
    static let optionReplyMagic: UInt64 = 0x0003_e889_0455_65a9
    /// `NBD_REQUEST_MAGIC`.
    static let requestMagic: UInt32 = 0x2560_9513
    /// `NBD_SIMPLE_REPLY_MAGIC`.
    static let simpleReplyMagic: UInt32 = 0x6744_6698
    /// `NBD_STRUCTURED_REPLY_MAGIC`.
    static let structuredReplyMagic: UInt32 = 0x668e_33ef

    /// The longest string that the protocol allows, in bytes.
    static let longestString = 4096
    /// The longest option data that is read, in bytes. Longer data is skipped.
    static let longestOption = 64 << 10
    /// The longest option data that is skipped, in bytes. A client that announces more is disconnected.
    static let longestSkippedOption = 32 << 20
    /// The largest payload of a request or reply, in bytes: what the protocol lets a client use unasked.
    static let largestPayload: UInt32 = 32 << 20
    /// The largest minimum block size that can be advertised, in bytes.
    static let largestMinimumBlock: UInt32 = 64 << 10
    /// The name of the only metadata context.
    static let allocationContext = "base:allocation"
    /// The number that stands for `base:allocation` in replies.
    static let allocationContextID: UInt32 = 1
}

/// Handshake flags of the server (`NBD_FLAG_*`) and of the client (`NBD_FLAG_C_*`), which agree in value.
struct NBDHandshakeFlags: OptionSet {
    let rawValue: UInt32

    /// `NBD_FLAG_FIXED_NEWSTYLE`.
    static let fixedNewstyle = NBDHandshakeFlags(rawValue: 1 << 0)
    /// `NBD_FLAG_NO_ZEROES`.
    static let noZeroes = NBDHandshakeFlags(rawValue: 1 << 1)
}

/// Transmission flags: what an export can do.
struct NBDTransmissionFlags: OptionSet {
    let rawValue: UInt16

    /// `NBD_FLAG_HAS_FLAGS`.
    static let hasFlags = NBDTransmissionFlags(rawValue: 1 << 0)
    /// `NBD_FLAG_READ_ONLY`.
    static let readOnly = NBDTransmissionFlags(rawValue: 1 << 1)
    /// `NBD_FLAG_SEND_FLUSH`.
    static let sendFlush = NBDTransmissionFlags(rawValue: 1 << 2)
    /// `NBD_FLAG_SEND_FUA`.
    static let sendForceUnitAccess = NBDTransmissionFlags(rawValue: 1 << 3)
    /// `NBD_FLAG_SEND_TRIM`.
    static let sendTrim = NBDTransmissionFlags(rawValue: 1 << 5)
    /// `NBD_FLAG_SEND_WRITE_ZEROES`.
    static let sendWriteZeroes = NBDTransmissionFlags(rawValue: 1 << 6)
    /// `NBD_FLAG_SEND_DF`.
    static let sendDontFragment = NBDTransmissionFlags(rawValue: 1 << 7)
    /// `NBD_FLAG_CAN_MULTI_CONN`.
    static let canMultiConnection = NBDTransmissionFlags(rawValue: 1 << 8)
    /// `NBD_FLAG_SEND_CACHE`.
    static let sendCache = NBDTransmissionFlags(rawValue: 1 << 10)
    /// `NBD_FLAG_SEND_FAST_ZERO`.
    static let sendFastZero = NBDTransmissionFlags(rawValue: 1 << 11)
}

/// Options of the handshake.
enum NBDOption: UInt32 {
    /// `NBD_OPT_EXPORT_NAME`.
    case exportName = 1
    /// `NBD_OPT_ABORT`.
    case abort = 2
    /// `NBD_OPT_LIST`.
    case list = 3
    /// `NBD_OPT_STARTTLS`.
    case startTLS = 5
    /// `NBD_OPT_INFO`.
    case info = 6
    /// `NBD_OPT_GO`.
    case go = 7
    /// `NBD_OPT_STRUCTURED_REPLY`.
    case structuredReply = 8
    /// `NBD_OPT_LIST_META_CONTEXT`.
    case listMetaContext = 9
    /// `NBD_OPT_SET_META_CONTEXT`.
    case setMetaContext = 10
}

/// Types of option replies.
enum NBDOptionReply: UInt32 {
    /// `NBD_REP_ACK`.
    case acknowledge = 1
    /// `NBD_REP_SERVER`.
    case server = 2
    /// `NBD_REP_INFO`.
    case info = 3
    /// `NBD_REP_META_CONTEXT`.
    case metaContext = 4
    /// `NBD_REP_ERR_UNSUP`.
    case unsupported = 0x8000_0001
    /// `NBD_REP_ERR_INVALID`.
    case invalid = 0x8000_0003
    /// `NBD_REP_ERR_UNKNOWN`.
    case unknownExport = 0x8000_0006
    /// `NBD_REP_ERR_BLOCK_SIZE_REQD`.
    case blockSizeRequired = 0x8000_0008
    /// `NBD_REP_ERR_TOO_BIG`.
    case tooBig = 0x8000_0009
}

/// Information items of `NBD_REP_INFO`.
enum NBDInformation: UInt16 {
    /// `NBD_INFO_EXPORT`.
    case export = 0
    /// `NBD_INFO_NAME`.
    case name = 1
    /// `NBD_INFO_DESCRIPTION`.
    case description = 2
    /// `NBD_INFO_BLOCK_SIZE`.
    case blockSize = 3
}

/// Commands of the transmission phase.
enum NBDCommand: UInt16 {
    /// `NBD_CMD_READ`.
    case read = 0
    /// `NBD_CMD_WRITE`.
    case write = 1
    /// `NBD_CMD_DISC`.
    case disconnect = 2
    /// `NBD_CMD_FLUSH`.
    case flush = 3
    /// `NBD_CMD_TRIM`.
    case trim = 4
    /// `NBD_CMD_CACHE`.
    case cache = 5
    /// `NBD_CMD_WRITE_ZEROES`.
    case writeZeroes = 6
    /// `NBD_CMD_BLOCK_STATUS`.
    case blockStatus = 7
}

/// Flags of a command.
struct NBDCommandFlags: OptionSet {
    let rawValue: UInt16

    /// `NBD_CMD_FLAG_FUA`. Must be accepted, and may be ignored, with commands that write nothing.
    static let forceUnitAccess = NBDCommandFlags(rawValue: 1 << 0)
    /// `NBD_CMD_FLAG_NO_HOLE`, with `NBD_CMD_WRITE_ZEROES`.
    static let noHole = NBDCommandFlags(rawValue: 1 << 1)
    /// `NBD_CMD_FLAG_DF`, with `NBD_CMD_READ`.
    static let dontFragment = NBDCommandFlags(rawValue: 1 << 2)
    /// `NBD_CMD_FLAG_REQ_ONE`, with `NBD_CMD_BLOCK_STATUS`.
    static let requestOne = NBDCommandFlags(rawValue: 1 << 3)
    /// `NBD_CMD_FLAG_FAST_ZERO`, with `NBD_CMD_WRITE_ZEROES`.
    static let fastZero = NBDCommandFlags(rawValue: 1 << 4)
}

/// Types of structured reply chunks.
enum NBDChunk: UInt16 {
    /// `NBD_REPLY_TYPE_NONE`.
    case none = 0
    /// `NBD_REPLY_TYPE_OFFSET_DATA`.
    case offsetData = 1
    /// `NBD_REPLY_TYPE_OFFSET_HOLE`.
    case offsetHole = 2
    /// `NBD_REPLY_TYPE_BLOCK_STATUS`.
    case blockStatus = 5
    /// `NBD_REPLY_TYPE_ERROR`.
    case error = 0x8001
}

/// Flags of a `base:allocation` descriptor.
struct NBDAllocationState: OptionSet {
    let rawValue: UInt32

    /// `NBD_STATE_HOLE`.
    static let hole = NBDAllocationState(rawValue: 1 << 0)
    /// `NBD_STATE_ZERO`.
    static let zero = NBDAllocationState(rawValue: 1 << 1)
}
