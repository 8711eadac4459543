#if ISCSI
    import IORuntime

    /// A command as a target takes it: its descriptor block, and what is transferred.
    ///
    /// Numbers of blocks and places are in logical blocks. References are to SPC-4 and SBC-3.
    struct SCSICommand: Sendable {
        enum Direction: Sendable { case none, fromTarget, toTarget }

        /// The descriptor block.
        private(set) var block = InlineArray<16, UInt8>(repeating: 0)
        let blockByteCount: Int
        let direction: Direction
        /// Bytes to transfer, at most 2 GiB.
        let byteCount: Int
        /// Whether it changes what the volume holds, so that it must not happen late.
        let isChange: Bool
        /// Whether doing it twice is the same as doing it once. After one that is not, whoever asked must look again.
        let isRepeatable: Bool

        private init(
            _ operation: UInt8, _ blockByteCount: Int, _ direction: Direction = .none, byteCount: Int = 0,
            isChange: Bool = false, isRepeatable: Bool = true
        ) {
            (self.blockByteCount, self.direction, self.byteCount) = (blockByteCount, direction, byteCount)
            (self.isChange, self.isRepeatable) = (isChange, isRepeatable)
            block[0] = operation
        }

        /// Stores a number in the descriptor block, big-endian.
        private mutating func put<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
            var span = block.mutableSpan
            var bytes = unsafe span.mutableBytes
            bytes.storeBigEndian(value, at: offset)
        }

        // MARK: - Data

        static func read(_ place: UInt64, count: UInt32, byteCount: Int) -> SCSICommand {
            transfer(0x28, 0x88, place, count, .fromTarget, byteCount)
        }

        /// With `forceUnitAccess` the bytes are on the medium when the command ends.
        static func write(_ place: UInt64, count: UInt32, byteCount: Int, forceUnitAccess: Bool) -> SCSICommand {
            var command = transfer(0x2a, 0x8a, place, count, .toTarget, byteCount)
            if forceUnitAccess { command.block[1] = 0x08 }
            return command
        }

        /// The form with 10 bytes where place and number fit, else the one with 16.
        private static func transfer(
            _ short: UInt8, _ long: UInt8, _ place: UInt64, _ count: UInt32, _ direction: Direction, _ byteCount: Int
        ) -> SCSICommand {
            let isChange = direction == .toTarget
            if let place = UInt32(exactly: place), let count = UInt16(exactly: count) {
                var command = SCSICommand(short, 10, direction, byteCount: byteCount, isChange: isChange)
                command.put(place, at: 2)
                command.put(count, at: 7)
                return command
            }
            var command = SCSICommand(long, 16, direction, byteCount: byteCount, isChange: isChange)
            command.put(place, at: 2)
            command.put(count, at: 10)
            return command
        }

        /// Makes all that was written before durable.
        static var synchronizeCache: SCSICommand { SCSICommand(0x35, 10) }

        /// Writes the one block that is sent to each of `count` blocks. With `unmap` they may be deallocated instead,
        /// if they then read as that block.
        static func writeSame(_ place: UInt64, count: UInt32, unmap: Bool, blockSize: Int) -> SCSICommand {
            var command = SCSICommand(0x93, 16, .toTarget, byteCount: blockSize, isChange: true)
            if unmap { command.block[1] = 0x08 }
            command.put(place, at: 2)
            command.put(count, at: 10)
            return command
        }

        /// Deallocates the blocks that the list of `byteCount` bytes names: see `SCSIUnmapList`.
        static func unmap(byteCount: UInt16) -> SCSICommand {
            var command = SCSICommand(0x42, 10, .toTarget, byteCount: Int(byteCount), isChange: true)
            command.put(byteCount, at: 7)
            return command
        }

        /// Writes the second half of what is sent to `count` blocks, if they hold the first half.
        static func compareAndWrite(_ place: UInt64, count: UInt8, byteCount: Int) -> SCSICommand {
            var command = SCSICommand(
                0x89, 16, .toTarget, byteCount: byteCount, isChange: true, isRepeatable: false)
            command.put(place, at: 2)
            command.put(count, at: 13)
            return command
        }

        // MARK: - What the unit is

        static var testUnitReady: SCSICommand { SCSICommand(0x00, 6) }

        static func reportLUNs(byteCount: UInt32) -> SCSICommand {
            var command = SCSICommand(0xa0, 12, .fromTarget, byteCount: Int(byteCount))
            command.put(byteCount, at: 6)
            return command
        }

        /// What the unit says of itself, or one page of its vital product data.
        static func inquiry(page: UInt8? = nil, byteCount: UInt16) -> SCSICommand {
            var command = SCSICommand(0x12, 6, .fromTarget, byteCount: Int(byteCount))
            if let page { (command.block[1], command.block[2]) = (1, page) }
            command.put(byteCount, at: 3)
            return command
        }

        static func readCapacity(byteCount: UInt32) -> SCSICommand {
            var command = SCSICommand(0x9e, 16, .fromTarget, byteCount: Int(byteCount))
            command.block[1] = 0x10
            command.put(byteCount, at: 10)
            return command
        }

        /// The page of the cache, with the device's parameters before it.
        static func modeSenseCaching(byteCount: UInt8) -> SCSICommand {
            var command = SCSICommand(0x1a, 6, .fromTarget, byteCount: Int(byteCount))
            command.block[2] = 0x08
            command.block[4] = byteCount
            return command
        }

        static func getLBAStatus(_ place: UInt64, byteCount: UInt32) -> SCSICommand {
            var command = SCSICommand(0x9e, 16, .fromTarget, byteCount: Int(byteCount))
            command.block[1] = 0x12
            command.put(place, at: 2)
            command.put(byteCount, at: 10)
            return command
        }

        // MARK: - Reservations

        enum ReservationQuestion: UInt8 { case keys = 0, reservation = 1 }

        static func persistentReserveIn(_ question: ReservationQuestion, byteCount: UInt16) -> SCSICommand {
            var command = SCSICommand(0x5e, 10, .fromTarget, byteCount: Int(byteCount))
            command.block[1] = question.rawValue
            command.put(byteCount, at: 7)
            return command
        }

        enum ReservationAction: UInt8 {
            case register = 0, reserve = 1, preempt = 4, preemptAndAbort = 5, registerAndIgnoreExistingKey = 6
        }

        /// Sends the 24 bytes of parameters that `SCSIReservation` makes.
        static func persistentReserveOut(_ action: ReservationAction, type: UInt8) -> SCSICommand {
            var command = SCSICommand(0x5f, 10, .toTarget, byteCount: 24, isRepeatable: false)
            command.block[1] = action.rawValue
            command.block[2] = type
            command.put(UInt32(24), at: 5)
            return command
        }
    }
#endif
