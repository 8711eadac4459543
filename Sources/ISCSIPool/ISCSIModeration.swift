#if ISCSI
    import IORuntime

    /// How many bytes of answers must have come before they are taken, so that a target that answers one command after
    /// the other does not wake its initiator for each: as network cards moderate their interrupts.
    ///
    /// Only many commands at once are worth it. The answers to a sixteenth to an eighth of them are then taken together.
    /// A target that works on some of them at a time has enough to do meanwhile; one that works on all of them at once
    /// does up to a sixteenth less. One that leaves the others unanswered keeps nobody from what has come:
    /// somebody looks every `interval`.
    struct ISCSIModeration {
        /// What is still to come of the answers to the commands at the target, if all of them succeed.
        var awaitedByteCount = 0
        /// Something has come since the last look.
        var hasReceived = false
        /// Waits that any answer ends.
        private var pause = 0

        /// Commands at the target from which on answers are gathered.
        private static let leastCommandCount = 12
        private static let largestByteCount = 32 << 10
        /// Waits that any answer ends, after one that brought nothing for too long.
        private static let pauseCount = 1024
        /// How often somebody looks whether anything has come.
        static let interval = Duration.milliseconds(1)

        var isPaused: Bool { pause > 0 }

        /// What must come before the next wait ends.
        mutating func nextLeastByteCount(_ commandCount: Int) -> Int {
            if pause > 0 {
                pause -= 1
                return 1
            }
            guard commandCount >= Self.leastCommandCount else { return 1 }
            // An eighth of all, without those that have just been answered and are about to be followed by others.
            let share = min(awaitedByteCount / 7, Self.largestByteCount)
            // The same for about as many commands: telling the kernel costs something, too.
            return share < 2 ? 1 : 1 << (Int.bitWidth - 1 - share.leadingZeroBitCount)
        }

        /// Whether nothing has come since the last call; then answers are not gathered for a while.
        mutating func isStill() -> Bool {
            defer { hasReceived = false }
            if !hasReceived { pause = Self.pauseCount }
            return !hasReceived
        }
    }
#endif
