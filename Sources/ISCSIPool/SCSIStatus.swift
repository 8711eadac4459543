#if ISCSI
    import BlockStorage
    import IORuntime

    /// How a command ended that the target did not do: its status, and the sense that explains it (SAM-5, SPC-4).
    struct SCSIStatus: Equatable, Sendable {
        var code: UInt8
        /// Of CHECK CONDITION: what kind of trouble it is.
        var key: UInt8 = 0
        /// The additional sense code and its qualifier.
        var additional: UInt16 = 0
        /// It is about an earlier command, which was answered well before it failed; the one that it answers was not
        /// done.
        var isDeferred = false

        init(code: UInt8) { self.code = code }

        /// Of CHECK CONDITION, as the sense data says, in its fixed or its descriptor format (SPC-4, 4.5). What is too
        /// short says nothing.
        init(sense: RawSpan) {
            code = Self.checkCondition
            func byte(_ offset: Int) -> UInt8 {
                offset < sense.byteCount ? sense.loadBigEndian(UInt8.self, at: offset) : 0
            }
            // What has another format, or less than any has, says nothing.
            guard (0x70...0x73).contains(byte(0) & 0x7f), sense.byteCount >= 8 else { return }
            let (keyOffset, additionalOffset) = byte(0) & 0x7f < 0x72 ? (2, 12) : (1, 2)
            key = byte(keyOffset) & 0x0f
            isDeferred = [0x71, 0x73].contains(byte(0) & 0x7f)
            additional = UInt16(byte(additionalOffset)) << 8 | UInt16(byte(additionalOffset + 1))
        }

        static let good: UInt8 = 0x00
        static let checkCondition: UInt8 = 0x02
        static let busy: UInt8 = 0x08
        static let reservationConflict: UInt8 = 0x18
        static let taskSetFull: UInt8 = 0x28
        static let taskAborted: UInt8 = 0x40

        private enum Key {
            static let none: UInt8 = 0
            static let recovered: UInt8 = 1
            static let notReady: UInt8 = 2
            static let mediumError: UInt8 = 3
            static let illegalRequest: UInt8 = 5
            static let unitAttention: UInt8 = 6
            static let dataProtect: UInt8 = 7
            static let abortedCommand: UInt8 = 11
            static let miscompare: UInt8 = 14
        }

        /// What to do about it.
        enum Remedy: Equatable {
            case none, again, againLater, againWithFewer
            /// Again, in a session that has looked whether the unit is still the same, and still ours.
            case againAfterLook
        }

        /// The target has done nothing of a command that it ended in one of these ways, so any may be sent again.
        var remedy: Remedy {
            // It tells of bytes that are lost, which nobody may overlook.
            if isDeferred { return .none }
            return switch (code, key) {
            case (Self.busy, _): .againLater
            case (Self.taskSetFull, _): .againWithFewer
            case (Self.taskAborted, _): .again
            case (Self.checkCondition, Key.unitAttention):
                endsCommands || mayBeAnother ? .againAfterLook : .again
            case (Self.checkCondition, Key.abortedCommand): .againLater
            // It is becoming ready, or its path to the medium changes its state.
            case (Self.checkCondition, Key.notReady) where additional == 0x0401 || additional == 0x040a: .againLater
            default: .none
            }
        }

        /// The blocks hold other bytes than COMPARE AND WRITE was told.
        var isMiscompare: Bool { code == Self.checkCondition && key == Key.miscompare && !isDeferred }

        /// The unit says that something about it has changed.
        var isUnitAttention: Bool { code == Self.checkCondition && key == Key.unitAttention && !isDeferred }

        /// The command was done: the sense says how an error was overcome.
        var isGood: Bool { code == Self.checkCondition && !isDeferred && key == Key.recovered }

        /// Whether a command that ended so may have been done before.
        var mayHaveBeenDone: Bool {
            code == Self.taskAborted || code == Self.checkCondition && key == Key.abortedCommand
        }

        /// The unit was reset, or another initiator has ended its commands: none of ours is left.
        private var endsCommands: Bool { isUnitAttention && (additional >> 8 == 0x29 || additional == 0x2f00) }

        /// The number may belong to another unit by now.
        private var mayBeAnother: Bool { isUnitAttention && [0x3f03, 0x3f0e].contains(additional) }

        /// Reservations or registrations have been taken or given up.
        var changesReservations: Bool { isUnitAttention && [0x2a03, 0x2a04, 0x2a05].contains(additional) }

        /// The unit was reset, or its size, its identity or the list of units has changed: all is to be read anew.
        var changesGeometry: Bool {
            isUnitAttention && [0x2900, 0x2901, 0x2902, 0x2903, 0x2a09, 0x3f03, 0x3f0e].contains(additional)
        }

        /// The target does not know the command, or not this form of it.
        var isUnsupported: Bool {
            code == Self.checkCondition && !isDeferred && key == Key.illegalRequest
                && [0x2000, 0x2400, 0x2600].contains(additional)
        }

        var errorCode: StorageError.Code {
            if isDeferred { return .inputOutput }
            return switch (code, key, additional) {
            case (Self.busy, _, _), (Self.taskSetFull, _, _): .busy
            case (Self.reservationConflict, _, _): .busy
            case (Self.checkCondition, Key.illegalRequest, 0x2500): .notFound
            case (Self.checkCondition, Key.illegalRequest, 0x2100): .outOfRange
            case (Self.checkCondition, Key.illegalRequest, _): .notSupported
            case (Self.checkCondition, Key.dataProtect, 0x2707): .noSpace
            case (Self.checkCondition, Key.dataProtect, _): .readOnly
            case (Self.checkCondition, Key.miscompare, _): .conflict
            default: .inputOutput
            }
        }

        func error(_ what: String, at place: String) -> StorageError {
            StorageError(errorCode, what, at: place, why: description)
        }
    }

    extension SCSIStatus: CustomStringConvertible {
        var description: String {
            switch code {
            case Self.checkCondition:
                (isDeferred ? "an earlier command has failed late: " : "")
                    + "the target answers sense key \(hex(key, 1)), additional sense \(hex(additional >> 8, 2))h/"
                    + "\(hex(additional & 0xff, 2))h"
            case Self.busy: "the target is busy"
            case Self.taskSetFull: "the target takes no more commands"
            case Self.taskAborted: "the target has aborted the command"
            case Self.reservationConflict: "another initiator has reserved the unit"
            default: "the target answers status \(hex(code, 2))h"
            }
        }

        private func hex(_ number: some BinaryInteger, _ digits: Int) -> String {
            let text = String(number, radix: 16)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
    }
#endif
