#if ISCSI
    import IORuntime

    /// What READ CAPACITY (16) answers (SBC-3, 5.16).
    struct SCSICapacity: Equatable, Sendable {
        static let byteCount: UInt32 = 32
        let blockCount: UInt64
        /// In bytes, a power of two.
        let blockSize: UInt32
        /// Whether blocks can be deallocated, and whether those then read as zeros.
        let isThin: Bool
        let readsZeroes: Bool

        /// Nil for what is too short, or describes no unit that can be used.
        init?(_ bytes: RawSpan) {
            guard bytes.byteCount >= 16 else { return nil }
            let last = bytes.loadBigEndian(UInt64.self, at: 0)
            blockSize = bytes.loadBigEndian(UInt32.self, at: 8)
            let provisioning = bytes.loadBigEndian(UInt16.self, at: 14)
            guard blockSize.nonzeroBitCount == 1, (512...65536).contains(blockSize) else { return nil }
            // Bytes are counted in 64 bits.
            guard last < UInt64(Int64.max) / UInt64(blockSize) else { return nil }
            blockCount = last + 1
            isThin = provisioning & 0x8000 != 0
            readsZeroes = provisioning & 0x4000 != 0
        }

        /// In bytes.
        var size: UInt64 { blockCount * UInt64(blockSize) }
    }

    /// The limits that a unit states (SBC-3, 6.5.3: vital product data, page B0h), in blocks; 0 where it states none.
    struct SCSILimits: Equatable, Sendable {
        static let page: UInt8 = 0xb0
        var largestCompareAndWrite: UInt8 = 0
        var optimalGranularity: UInt32 = 0
        var largestTransfer: UInt32 = 0
        var largestUnmap: UInt32 = 0
        var largestWriteSame: UInt64 = 0

        init() {}

        init(_ bytes: RawSpan) {
            guard bytes.byteCount >= 16, bytes.loadBigEndian(UInt8.self, at: 1) == Self.page else { return }
            largestCompareAndWrite = bytes.loadBigEndian(UInt8.self, at: 5)
            optimalGranularity = UInt32(bytes.loadBigEndian(UInt16.self, at: 6))
            largestTransfer = bytes.loadBigEndian(UInt32.self, at: 8)
            guard bytes.byteCount >= 44 else { return }
            largestUnmap = bytes.loadBigEndian(UInt32.self, at: 20)
            largestWriteSame = bytes.loadBigEndian(UInt64.self, at: 36)
        }
    }

    /// How a unit deallocates (SBC-3, 6.5.4: page B2h).
    struct SCSIProvisioning: Equatable, Sendable {
        static let page: UInt8 = 0xb2
        var hasUnmap = false
        var hasWriteSameUnmap = false

        init() {}

        init(_ bytes: RawSpan) {
            guard bytes.byteCount >= 6, bytes.loadBigEndian(UInt8.self, at: 1) == Self.page else { return }
            let flags = bytes.loadBigEndian(UInt8.self, at: 5)
            hasUnmap = flags & 0x80 != 0
            hasWriteSameUnmap = flags & 0x40 != 0
        }
    }

    /// What INQUIRY answers without a page (SPC-4, 6.6).
    enum SCSIInquiry {
        /// Whether there is a disk: connected, and of a type that has direct access.
        static func isDisk(_ bytes: RawSpan) -> Bool {
            bytes.byteCount >= 1 && bytes.loadBigEndian(UInt8.self, at: 0) == 0
        }
    }

    /// The header of MODE SENSE (6) (SPC-4, 7.5.5).
    struct SCSIModes: Equatable, Sendable {
        var isWriteProtected = false
        /// Whether a write can be told to go to the medium at once.
        var hasForceUnitAccess = false

        init() {}

        init(_ bytes: RawSpan) {
            guard bytes.byteCount >= 4 else { return }
            let flags = bytes.loadBigEndian(UInt8.self, at: 2)
            isWriteProtected = flags & 0x80 != 0
            hasForceUnitAccess = flags & 0x10 != 0
        }
    }

    /// The units that REPORT LUNS lists (SPC-4, 6.33).
    struct SCSIUnitList: Equatable, Sendable {
        static let byteCount: UInt32 = 16384
        /// The first two bytes of each: the number with its way of addressing. Deeper levels are not listed.
        let numbers: [UInt16]

        init?(_ bytes: RawSpan) {
            guard bytes.byteCount >= 8 else { return nil }
            let listed = Int(bytes.loadBigEndian(UInt32.self, at: 0)) / 8
            let present = (bytes.byteCount - 8) / 8
            numbers = (0..<min(listed, present)).compactMap { index in
                let number = bytes.loadBigEndian(UInt64.self, at: 8 + 8 * index)
                return number & 0xffff_ffff_ffff == 0 ? UInt16(number >> 48) : nil
            }
        }

        /// The number of a unit without its way of addressing: peripheral device or flat space.
        static func plain(_ number: UInt16) -> UInt16 { number & 0x3fff }
    }

    /// The parameters of UNMAP for one range (SBC-3, 5.28).
    enum SCSIUnmapList {
        static let byteCount: UInt16 = 24

        static func bytes(_ place: UInt64, count: UInt32) -> [UInt8] {
            var list = [UInt8](repeating: 0, count: Int(byteCount))
            var bytes = list.mutableRawBytes
            bytes.storeBigEndian(byteCount - 2, at: 0)
            bytes.storeBigEndian(byteCount - 8, at: 2)
            bytes.storeBigEndian(place, at: 8)
            bytes.storeBigEndian(count, at: 16)
            return list
        }
    }

    /// What GET LBA STATUS answers (SBC-3, 5.4): which blocks are allocated.
    struct SCSIAllocation: Equatable, Sendable {
        struct Run: Equatable, Sendable {
            var range: Range<UInt64>
            var isAllocated: Bool
        }

        static let byteCount: UInt32 = 8 + 16 * 256
        /// In blocks, in order, without gaps.
        let runs: [Run]

        /// Nil unless the descriptors begin at `place` and follow each other without gaps or overlaps: some targets
        /// describe other blocks than they were asked for.
        init?(_ bytes: RawSpan, from place: UInt64) {
            guard bytes.byteCount >= 8 else { return nil }
            let listed = (Int(bytes.loadBigEndian(UInt32.self, at: 0)) - 4) / 16
            let present = (bytes.byteCount - 8) / 16
            var runs: [Run] = []
            var expected = place
            for index in 0..<max(0, min(listed, present)) {
                let offset = 8 + 16 * index
                let first = bytes.loadBigEndian(UInt64.self, at: offset)
                let count = UInt64(bytes.loadBigEndian(UInt32.self, at: offset + 8))
                let (end, overflow) = first.addingReportingOverflow(count)
                guard first == expected, count > 0, !overflow else { return nil }
                // 0: mapped; 1: deallocated; 2: anchored.
                let status = bytes.loadBigEndian(UInt8.self, at: offset + 12) & 0x0f
                runs.append(Run(range: first..<end, isAllocated: status != 1))
                expected = end
            }
            guard !runs.isEmpty else { return nil }
            self.runs = runs
        }
    }

    /// What tells a unit from any other (SPC-4, 7.8.5: vital product data, page 83h).
    enum SCSIIdentity {
        static let page: UInt8 = 0x83

        /// The designators of the unit itself: those of the port and the target differ by the way that leads there.
        /// Empty where there are none.
        static func designators(_ bytes: RawSpan) -> [UInt8] {
            guard bytes.byteCount >= 4, bytes.loadBigEndian(UInt8.self, at: 1) == page else { return [] }
            let end = min(bytes.byteCount, 4 + Int(bytes.loadBigEndian(UInt16.self, at: 2)))
            var designators: [UInt8] = []
            var offset = 4
            while offset + 4 <= end {
                let next = offset + 4 + Int(bytes.loadBigEndian(UInt8.self, at: offset + 3))
                guard next <= end else { break }
                if bytes.loadBigEndian(UInt8.self, at: offset + 1) & 0x30 == 0 {
                    for index in offset..<next { designators.append(bytes.loadBigEndian(UInt8.self, at: index)) }
                }
                offset = next
            }
            return designators
        }
    }
#endif
